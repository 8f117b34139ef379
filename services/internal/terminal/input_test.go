package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
)

// typed is a program that keeps what it is given.
type typed struct {
	Process
	ended chan struct{}

	mu  sync.Mutex
	got bytes.Buffer
}

func (p *typed) Done() <-chan struct{} { return p.ended }

func (p *typed) Write(_ context.Context, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got.Write(data)
	return nil
}

func newTyped() (*Terminal, *typed) {
	p := &typed{ended: make(chan struct{})}
	return &Terminal{proc: p, engine: &Engine{host: newPTYHost()}, input: make(chan struct{}, 1)}, p
}

// TestInputInOrder queues writers behind a transaction, one after the other.
func TestInputInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, p := newTyped()
		turn, err := term.Input(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := "<>"
		given, giveUp := context.WithCancel(t.Context())
		for i := range 50 {
			want += fmt.Sprint(" ", i)
			go func() {
				if err := term.Write(t.Context(), fmt.Append(nil, " ", i)); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait() // it waits for its turn
			if i == 20 {
				go func() {
					if _, err := term.Input(given); !errors.Is(err, context.Canceled) {
						t.Errorf("gave up: %v", err)
					}
				}()
				synctest.Wait()
			}
		}
		giveUp()
		for _, s := range []string{"<", "", ">"} {
			if err := turn.Write(t.Context(), []byte(s)); err != nil {
				t.Error(err)
			}
		}
		turn.Release()
		synctest.Wait()
		turn.Release() // takes nobody else's turn
		if err := turn.Write(t.Context(), []byte("late")); !errors.Is(err, ErrReleased) {
			t.Errorf("write after the release: %v", err)
		}
		if got := p.got.String(); got != want {
			t.Errorf("typed %q, want %q", got, want)
		}
	})
}

func TestInputEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term, p := newTyped()
		done, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := term.Input(done); !errors.Is(err, context.Canceled) {
			t.Errorf("input with a context that has ended: %v", err)
		}
		turn, err := term.Input(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := turn.Write(done, []byte("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("write with a context that has ended: %v", err)
		}
		if err := turn.Write(t.Context(), make([]byte, inputMost+1)); !errors.Is(err, ErrInvalid) {
			t.Errorf("write of too much: %v", err)
		}
		go func() {
			if err := term.Write(t.Context(), []byte("x")); !errors.Is(err, ErrGone) {
				t.Errorf("write into what ended: %v", err)
			}
		}()
		synctest.Wait()
		close(p.ended)
		synctest.Wait()
		if _, err := term.Input(t.Context()); !errors.Is(err, ErrGone) {
			t.Errorf("input of what ended: %v", err)
		}
		turn.Release()
		if p.got.Len() > 0 {
			t.Errorf("typed %q", p.got.String())
		}
	})
}
