package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// source yields n numbers, then end.
func source(n int, end error) func() (int, error) {
	i := 0
	return func() (int, error) {
		if i == n {
			return 0, end
		}
		i++
		return i, nil
	}
}

func number(w *Writer) func(int) error {
	return func(n int) error { return w.Event("n", fmt.Appendf(nil, "%d", n)) }
}

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "event: n\ndata: %d\n\n", i+1)
	}
	return b.String()
}

func TestPumpEnds(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name      string
		recv, wr  error // how they end
		want      error
		delivered int
	}{
		{name: "end of stream", recv: io.EOF, delivered: 200},
		{name: "wrapped end", recv: fmt.Errorf("recv: %w", io.EOF), delivered: 200},
		{name: "recv fails", recv: broken, want: broken, delivered: 200},
		{name: "write fails", recv: io.EOF, wr: broken, want: broken, delivered: 150},
		{name: "write says EOF", recv: io.EOF, wr: io.EOF, want: io.EOF, delivered: 150},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient()
				w := New(c, request(), Options{})
				write := number(w)
				err := Pump(t.Context(), w, source(200, tc.recv), func(n int) error {
					if n > 150 && tc.wr != nil {
						return tc.wr
					}
					return write(n)
				})
				if tc.want == nil && err != nil || !errors.Is(err, tc.want) {
					t.Errorf("Pump: %v, want %v", err, tc.want)
				}
				if got := c.body.String(); got != numbers(tc.delivered) {
					t.Errorf("delivered %d bytes, want %d events", len(got), tc.delivered)
				}
				if last := c.flushes[len(c.flushes)-1]; last.len != c.body.Len() {
					t.Error("the end was not flushed")
				}
			})
		})
	}
}

// A bubble ends only when its goroutines have: none of these may leak one.
func TestPumpEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := newClient()
		w := New(c, request(), Options{})
		first := true
		recv := func() (int, error) {
			if first {
				first = false
				return 1, nil
			}
			<-ctx.Done()
			return 0, errors.New("rpc error: cancelled")
		}
		time.AfterFunc(time.Minute, cancel)
		if err := Pump(ctx, w, recv, number(w)); !errors.Is(err, context.Canceled) {
			t.Errorf("Pump: %v", err)
		}
		if !strings.HasPrefix(c.body.String(), numbers(1)) {
			t.Errorf("body %q", c.body.String())
		}
	})
}

func TestPumpEndsWithConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := newClient()
		w := New(c, request(), Options{})
		gone := errors.New("connection reset")
		recv := func() (int, error) { // keeps producing, then blocks
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			return 1, nil
		}
		n := 0
		err := Pump(ctx, w, recv, func(int) error {
			if n++; n == 1000 {
				c.fail = gone
			}
			time.Sleep(time.Millisecond)
			return w.Event("n", []byte("1"))
		})
		if !errors.Is(err, gone) {
			t.Errorf("Pump: %v", err)
		}
		cancel()
	})
}

func TestPumpFlushesWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient()
		w := New(c, request(), Options{})
		start := time.Now()
		next := source(5, io.EOF)
		recv := func() (int, error) {
			time.Sleep(time.Second)
			return next()
		}
		if err := Pump(t.Context(), w, recv, number(w)); err != nil {
			t.Fatal(err)
		}
		// The headers, then each event at the moment it came.
		for i, f := range c.flushes {
			if at := f.at.Sub(start); at != time.Duration(i)*time.Second {
				t.Errorf("flush %d at %v", i, at)
			}
		}
		if len(c.flushes) != 6 {
			t.Errorf("%d flushes, want 6", len(c.flushes))
		}
	})
}

func TestPumpUnderConstantLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const work = time.Millisecond
		c := newClient()
		w := New(c, request(), Options{})
		write := number(w)
		var written []time.Time // of event i+1
		err := Pump(t.Context(), w, source(1000, io.EOF), func(n int) error {
			time.Sleep(work)
			written = append(written, time.Now())
			return write(n)
		})
		if err != nil {
			t.Fatal(err)
		}
		if c.body.String() != numbers(1000) {
			t.Error("events were lost or changed")
		}
		i := 0
		for _, f := range c.flushes {
			for ; i < len(written) && len(numbers(i+1)) <= f.len; i++ {
				if waited := f.at.Sub(written[i]); waited > maxLinger+work {
					t.Errorf("event %d waited %v", i+1, waited)
				}
			}
		}
		if n := len(c.flushes); n > 1000/4 {
			t.Errorf("%d flushes for 1000 events", n)
		}
	})
}

func TestPumpKeepsAlive(t *testing.T) {
	for _, tc := range []struct {
		name      string
		keepAlive time.Duration
		want      string
	}{
		// One event at 50 s, the end at 100 s.
		{"default", 0, strings.Repeat(": ping\n\n", 3) + numbers(1) + strings.Repeat(": ping\n\n", 3)},
		{"own", 40 * time.Second, ": ping\n\n" + numbers(1) + ": ping\n\n"},
		{"never", -1, numbers(1)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClient()
				w := New(c, request(), Options{KeepAlive: tc.keepAlive})
				next := source(1, io.EOF)
				recv := func() (int, error) {
					time.Sleep(50 * time.Second)
					return next()
				}
				if err := Pump(t.Context(), w, recv, number(w)); err != nil {
					t.Fatal(err)
				}
				if got := c.body.String(); got != tc.want {
					t.Errorf("got %q, want %q", got, tc.want)
				}
				if last := c.flushes[len(c.flushes)-1]; last.len != c.body.Len() {
					t.Error("a ping was not flushed")
				}
			})
		})
	}
}

// Messages that this caller does not get to see leave the line silent too.
func TestPumpKeepsAliveWhileWritingNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient()
		w := New(c, request(), Options{KeepAlive: 10 * time.Second})
		err := Pump(t.Context(), w, source(25, io.EOF), func(int) error {
			time.Sleep(time.Second)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.body.String(); got != strings.Repeat(": ping\n\n", 2) {
			t.Errorf("got %q", got)
		}
	})
}

// A client that hangs up ends the stream and what feeds it.
func TestPumpOverHTTP(t *testing.T) {
	ended := make(chan error, 1)
	stopped := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := New(rw, r, Options{})
		n := 0
		ended <- Pump(r.Context(), w, func() (int, error) {
			if n == 3 {
				<-r.Context().Done()
				close(stopped)
				return 0, r.Context().Err()
			}
			n++
			return n, nil
		}, number(w))
	}))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(numbers(3)))
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != numbers(3) {
		t.Errorf("read %q, %v", got, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Pump: %v", err)
	}
	<-stopped
}

func BenchmarkPump(b *testing.B) {
	w := New(discard{http.Header{}}, request(), Options{})
	data := []byte(`{"type":"response.output_text.delta","delta":"hello","sequence_number":12}`)
	n := 0
	b.ReportAllocs()
	b.ResetTimer()
	err := Pump(b.Context(), w, func() ([]byte, error) {
		if n++; n > b.N {
			return nil, io.EOF
		}
		return data, nil
	}, func(data []byte) error { return w.Event("response.output_text.delta", data) })
	if err != nil {
		b.Fatal(err)
	}
}
