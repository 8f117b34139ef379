package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	targetFanOut  = 1.0
	targetMessage = 10_000 // per second

	messageCallers = 64  // connections that post at once
	fanBytes       = 256 // of one message
	fanWindow      = 256 // messages that may be under way
)

// fanText is a message of fanBytes bytes with one mark in it.
var fanText = text(fanBytes)

func text(n int) string { return string(mark) + strings.Repeat("x", n-len(mark)) }

// postMessage posts to one room: durable, routed, events out.
func (b *bench) postMessage(ctx context.Context) ([]result, error) {
	anthill, _, err := b.servers(ctx)
	if err != nil {
		return nil, err
	}
	room, err := b.room(anthill.addr)
	if err != nil {
		return nil, err
	}
	q := request(http.MethodPost, anthill.addr, "/api/sessions/"+room+"/messages", `{"content":"`+fanText+`"}`)
	callers, hangUp, err := wires(anthill.addr, q, messageCallers)
	if err != nil {
		return nil, err
	}
	defer hangUp()
	var rates []float64
	for range b.rounds {
		r, err := rate(callers, b.span)
		if err != nil {
			return nil, err
		}
		rates = append(rates, r)
	}
	got := median(rates)
	return []result{{path: "REST POST message, durable, routed, 64 connections", anthill: count(got) + "/s", reference: none,
		ratio: none, target: fmt.Sprintf(">= %s/s", count(targetMessage)), verdict: verdict(got >= targetMessage)}}, nil
}

// fanOut lets one room be followed by many sockets, and compares with NATS, whose
// messages are not kept. Neither are anthill's announcements: the frames of both
// have the same size there. Messages, which are on disk before anybody sees them
// and are posted over REST, stand beside it without a target.
func (b *bench) fanOut(ctx context.Context) (results []result, err error) {
	anthill, _, err := b.servers(ctx)
	if err != nil {
		return nil, err
	}
	peer, err := peer(ctx, "nats", nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, peer.stop()) }()
	room, err := b.room(anthill.addr)
	if err != nil {
		return nil, err
	}
	kinds := []struct {
		name, path, body string
		target           float64
	}{
		{"not kept", "typing", `{"handle":"` + text(fanBytes-len(fmt.Sprintf(typingFrame, room, ""))) + `","typing":true}`, targetFanOut},
		{"posted durably", "messages", `{"content":"` + fanText + `"}`, 0},
	}
	for _, n := range []int{100, 1000} {
		for _, k := range kinds {
			q := request(http.MethodPost, anthill.addr, "/api/sessions/"+room+"/"+k.path, k.body)
			p, err := b.fanBeside(ctx, n, anthill.addr, room, q, peer.addr)
			if err != nil {
				return results, err
			}
			line := atLeast(fmt.Sprintf("WebSocket fan-out, %d sockets, 256 B, %s", n, k.name), "/s", p, k.target)
			if k.target == 0 {
				line.target, line.verdict = none, none
			}
			results = append(results, line)
		}
	}
	return results, nil
}

// typingFrame is an announcement as sockets get it.
const typingFrame = `{"type":"typing","room":"%s","handle":"%s","typing":true}`

// fanBeside measures anthill, where requests q make messages, beside NATS.
func (b *bench) fanBeside(ctx context.Context, n int, addr, room string, q []byte, nats string) (p pairs, err error) {
	ours, err := newFan(n, func() ([]*socket, error) { return roomFollowers(addr, room, n) }, func() (publisher, error) {
		callers, hangUp, err := wires(addr, q, messageCallers)
		return publisher{callers, hangUp}, err
	})
	if err != nil {
		return p, err
	}
	defer ours.close()
	theirs, err := newFan(n, func() ([]*socket, error) { return natsSubscribers(nats, n) },
		func() (publisher, error) { return natsPublisher(nats) })
	if err != nil {
		return p, err
	}
	defer theirs.close()
	return b.alternate(ctx, ours.measure(b.span), theirs.measure(b.span))
}

// room makes a room.
func (b *bench) room(addr string) (id string, err error) {
	var made struct {
		ID string `json:"id"`
	}
	body, err := once(addr, request(http.MethodPost, addr, "/api/sessions", fmt.Sprintf(`{"name":"bench-%d","type":"chat"}`, time.Now().UnixNano())))
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(body, &made); err != nil {
		return "", err
	}
	return made.ID, nil
}

// roomFollowers are sockets that have joined a room.
func roomFollowers(addr, room string, n int) ([]*socket, error) {
	return sockets(n, func() (*socket, error) {
		s, err := dialSocket(addr, "/ws")
		if err != nil {
			return nil, err
		}
		frames := append(clientFrame(opText, []byte(`{"type":"join_session","sessionId":"`+room+`"}`)),
			clientFrame(opText, []byte(`{"type":"check_health","sessionId":"x"}`))...)
		if _, err := s.conn.Write(frames); err != nil {
			return nil, err
		}
		return s, s.await("session_health")
	})
}

func sockets(n int, open func() (*socket, error)) (list []*socket, err error) {
	for range n {
		s, err := open()
		if err != nil {
			for _, s := range list {
				s.conn.Close() // it has done nothing yet
			}
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// publisher sends the message, by as many callers at once as it takes.
type publisher struct {
	send  []func() error
	close func()
}

// fan is a publisher and those who get what it publishes.
type fan struct {
	publisher
	sockets   []*socket
	counts    []counter
	reading   errgroup.Group
	published atomic.Int64
}

func newFan(n int, subscribe func() ([]*socket, error), publish func() (publisher, error)) (*fan, error) {
	f := &fan{counts: make([]counter, n)}
	var err error
	if f.sockets, err = subscribe(); err != nil {
		return nil, err
	}
	if f.publisher, err = publish(); err != nil {
		return nil, err
	}
	for i, s := range f.sockets {
		f.reading.Go(func() error { return s.count(&f.counts[i]) })
	}
	return f, nil
}

func (f *fan) delivered() (n int64) {
	for i := range f.counts {
		n += f.counts[i].Load()
	}
	return n
}

// measure returns the deliveries per second while as much is published as gets
// through, and fails if one is missing or double in the end.
func (f *fan) measure(span time.Duration) side {
	return func(ctx context.Context) (float64, error) {
		var all errgroup.Group
		running, stop := context.WithCancel(ctx)
		defer stop()
		for _, s := range f.sockets { // a sign of life, for servers that want one
			if _, err := s.conn.Write(clientFrame(opPong, nil)); err != nil {
				return 0, err
			}
		}
		var room atomic.Int64 // messages that may be published in all
		room.Store(f.published.Load() + fanWindow)
		for _, send := range f.send {
			all.Go(func() error {
				for running.Err() == nil {
					if f.published.Load() >= room.Load() {
						time.Sleep(100 * time.Microsecond)
						continue
					}
					f.published.Add(1)
					if err := send(); err != nil {
						return err
					}
				}
				return nil
			})
		}
		all.Go(func() error {
			for running.Err() == nil {
				room.Store(f.delivered()/int64(len(f.sockets)) + fanWindow)
				time.Sleep(time.Millisecond)
			}
			return nil
		})
		time.Sleep(warmUp)
		began, before := time.Now(), f.delivered()
		time.Sleep(span)
		got := float64(f.delivered()-before) / time.Since(began).Seconds()
		stop()
		if err := all.Wait(); err != nil {
			return 0, err
		}
		return got, f.settle(ctx)
	}
}

// settle waits until everything published has come, once.
func (f *fan) settle(ctx context.Context) error {
	want := f.published.Load() * int64(len(f.sockets))
	for deadline := time.Now().Add(30 * time.Second); f.delivered() < want; time.Sleep(time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d deliveries came", f.delivered(), want)
		}
	}
	if got := f.delivered(); got != want {
		return fmt.Errorf("%d deliveries of %d", got, want)
	}
	return nil
}

// close hangs up.
func (f *fan) close() {
	f.publisher.close()
	for _, s := range f.sockets {
		s.conn.Close() // which ends its reader
	}
	_ = f.reading.Wait() // each ended by the line above
}
