package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// client is a ResponseWriter that keeps what a client would see, and when.
type client struct {
	header    http.Header
	status    int
	body      bytes.Buffer
	flushes   []flush
	deadlines []time.Time
	fail      error
}

type flush struct {
	at  time.Time
	len int // of the body so far
}

func newClient() *client { return &client{header: http.Header{}} }

func (c *client) Header() http.Header { return c.header }

func (c *client) WriteHeader(status int) { c.status = status }

func (c *client) Write(p []byte) (int, error) {
	if c.fail != nil {
		return 0, c.fail
	}
	return c.body.Write(p)
}

func (c *client) FlushError() error {
	c.flushes = append(c.flushes, flush{time.Now(), c.body.Len()})
	return c.fail
}

func (c *client) SetWriteDeadline(t time.Time) error {
	c.deadlines = append(c.deadlines, t)
	return nil
}

func request() *http.Request { return httptest.NewRequest(http.MethodGet, "/stream", nil) }

func TestStartSendsHeadersOnce(t *testing.T) {
	for _, tc := range []struct{ major, connection string }{{"1", "keep-alive"}, {"2", ""}} {
		r := request()
		r.ProtoMajor = int(tc.major[0] - '0')
		c := newClient()
		w := New(c, r, Options{})
		if c.status != 0 || len(c.flushes) != 0 {
			t.Error("New already answered")
		}
		for range 2 {
			if err := w.Start(); err != nil {
				t.Fatal(err)
			}
		}
		want := map[string]string{
			"Content-Type":                "text/event-stream",
			"Cache-Control":               "no-store, no-cache",
			"X-Accel-Buffering":           "no",
			"Connection":                  tc.connection,
			"Access-Control-Allow-Origin": "",
		}
		for name, value := range want {
			if got := c.header.Get(name); got != value {
				t.Errorf("HTTP/%s %s: %q, want %q", tc.major, name, got, value)
			}
		}
		if c.status != http.StatusOK || len(c.flushes) != 1 || c.body.Len() != 0 {
			t.Errorf("status %d, %d flushes, body %q", c.status, len(c.flushes), c.body.String())
		}
	}
}

func TestEventFrames(t *testing.T) {
	for _, tc := range []struct {
		name, data, want string
		err              error
	}{
		{name: "response.created", data: `{"a":1}`, want: "event: response.created\ndata: {\"a\":1}\n\n"},
		{name: "", data: `{"a":1}`, want: "data: {\"a\":1}\n\n"},
		{name: "A-z_0.9", data: ` x`, want: "event: A-z_0.9\ndata:  x\n\n"},
		{name: "x", data: "\u2028\u0085", want: "event: x\ndata: \u2028\u0085\n\n"},
		{name: "x", data: "", err: ErrEmpty},
		{name: "x", data: "{\n}", err: ErrMultiline},
		{name: "x", data: "{\r}", err: ErrMultiline},
		{name: "x\n", data: "{}", err: ErrName},
		{name: "x: y", data: "{}", err: ErrName},
		{name: "é", data: "{}", err: ErrName},
	} {
		c := newClient()
		w := New(c, request(), Options{})
		if err := w.Event(tc.name, []byte(tc.data)); !errors.Is(err, tc.err) {
			t.Errorf("Event(%q, %q): %v, want %v", tc.name, tc.data, err, tc.err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if got := c.body.String(); got != tc.want {
			t.Errorf("Event(%q, %q) wrote %q, want %q", tc.name, tc.data, got, tc.want)
		}
	}
}

func TestComment(t *testing.T) {
	c := newClient()
	w := New(c, request(), Options{})
	for text, want := range map[string]error{"ping": nil, "a\nb": ErrMultiline, "a\rdata: b": ErrMultiline} {
		if err := w.Comment(text); !errors.Is(err, want) {
			t.Errorf("Comment(%q): %v, want %v", text, err, want)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := c.body.String(); got != ": ping\n\n" {
		t.Errorf("wrote %q", got)
	}
}

func TestEventsCollectUntilFlush(t *testing.T) {
	c := newClient()
	w := New(c, request(), Options{})
	for range 3 {
		if err := w.Event("e", []byte("1")); err != nil {
			t.Fatal(err)
		}
	}
	if c.body.Len() != 0 {
		t.Errorf("wrote %q before Flush", c.body.String())
	}
	for range 2 { // the second has nothing to send
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.flushes) != 2 { // Start and Flush
		t.Errorf("%d flushes, want 2", len(c.flushes))
	}
	big := []byte(`"` + strings.Repeat("x", maxBuffer) + `"`)
	if err := w.Event("", big); err != nil {
		t.Fatal(err)
	}
	if got := c.body.Len(); got < maxBuffer {
		t.Errorf("a full buffer was kept: %d bytes written", got)
	}
}

func TestDeadlineIsRenewedAndTakenAway(t *testing.T) {
	c := newClient()
	w := New(c, request(), Options{WriteTimeout: time.Hour})
	flush := func() {
		if err := w.Event("e", []byte("1")); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	flush()
	w.bounded = w.bounded.Add(-2 * boundEvery) // as if time had passed
	flush()
	for range 2 {
		if err := w.End(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.deadlines); n != 3 || c.deadlines[0].IsZero() || c.deadlines[1].IsZero() || !c.deadlines[2].IsZero() {
		t.Errorf("deadlines %v, want two that are set and one that is taken away", c.deadlines)
	}
	c = newClient()
	if err := New(c, request(), Options{WriteTimeout: -1}).Start(); err != nil || len(c.deadlines) != 0 {
		t.Errorf("without a timeout: %v, deadlines %v", err, c.deadlines)
	}
}

func TestErrorsAreFinal(t *testing.T) {
	c := newClient()
	w := New(c, request(), Options{})
	if err := w.Event("e", []byte("1")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken pipe")
	c.fail = broken
	if err := w.Flush(); !errors.Is(err, broken) {
		t.Fatalf("Flush: %v", err)
	}
	c.fail = nil
	for name, f := range map[string]func() error{
		"Start": w.Start, "Flush": w.Flush,
		"Event":   func() error { return w.Event("e", []byte("1")) },
		"Comment": func() error { return w.Comment("x") },
	} {
		if err := f(); !errors.Is(err, broken) {
			t.Errorf("%s after the failure: %v", name, err)
		}
	}
	if c.body.Len() != 0 {
		t.Errorf("wrote %q after the failure", c.body.String())
	}
}

// A client that stops reading frees the goroutine that serves it.
func TestClientThatStopsReading(t *testing.T) {
	ended := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := New(rw, r, Options{WriteTimeout: 100 * time.Millisecond})
		data := bytes.Repeat([]byte("x"), 32<<10)
		for {
			if err := w.Event("flood", data); err != nil {
				ended <- err
				return
			}
		}
	}))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the handler still writes")
	}
}

// A recorder that knows nothing of deadlines is fine.
func TestRealResponses(t *testing.T) {
	rec := httptest.NewRecorder()
	w := New(rec, request(), Options{})
	if err := w.Event("e", []byte(`{"n":1}`)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := rec.Body.String(); got != "event: e\ndata: {\"n\":1}\n\n" || !rec.Flushed {
		t.Errorf("recorder got %q", got)
	}

	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := New(rw, r, Options{})
		for i := range 3 {
			if err := w.Event("n", fmt.Appendf(nil, "%d", i)); err != nil {
				t.Error(err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if want := "event: n\ndata: 0\n\nevent: n\ndata: 1\n\nevent: n\ndata: 2\n\n"; err != nil || string(got) != want {
		t.Errorf("client read %q, %v", got, err)
	}
}

// parse reads a stream as the strictest known client does: frames end at an
// empty line, lines end at LF, the data is the first data line.
func parse(stream string) (events [][2]string, err error) {
	for len(stream) > 0 {
		frame, rest, ok := strings.Cut(stream, "\n\n")
		if !ok {
			return nil, fmt.Errorf("unterminated frame %q", stream)
		}
		stream = rest
		var ev [2]string
		data := false
		for line := range strings.SplitSeq(frame, "\n") {
			switch {
			case strings.HasPrefix(line, "event: ") && ev[0] == "" && !data:
				ev[0] = strings.TrimPrefix(line, "event: ")
			case strings.HasPrefix(line, "data: ") && !data:
				ev[1], data = strings.TrimPrefix(line, "data: "), true
			default:
				return nil, fmt.Errorf("unexpected line %q", line)
			}
		}
		if strings.ContainsRune(frame, '\r') || !data {
			return nil, fmt.Errorf("malformed frame %q", frame)
		}
		events = append(events, ev)
	}
	return events, nil
}

func FuzzEvent(f *testing.F) {
	f.Add("response.output_text.delta", []byte(`{"delta":"hi"}`))
	f.Add("", []byte("{}"))
	f.Add("a\nb", []byte("{}"))
	f.Add("a", []byte("1\n\ndata: 2"))
	f.Add("a", []byte("1\r\rdata: 2"))
	f.Add("id", []byte(" \x00\xff"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		c := newClient()
		w := New(c, request(), Options{})
		failed := w.Event(name, data)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if failed != nil {
			if c.body.Len() != 0 {
				t.Fatalf("refused with %v, but wrote %q", failed, c.body.String())
			}
			return
		}
		events, err := parse(c.body.String())
		if err != nil {
			t.Fatal(err)
		}
		if len(events) != 1 || events[0] != [2]string{name, string(data)} {
			t.Fatalf("(%q, %q) came back as %q", name, data, events)
		}
	})
}

func BenchmarkEventFlush(b *testing.B) {
	w := New(discard{http.Header{}}, request(), Options{})
	data := []byte(`{"type":"response.output_text.delta","delta":"hello","sequence_number":12}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Event("response.output_text.delta", data); err != nil {
			b.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{ header http.Header }

func (d discard) Header() http.Header            { return d.header }
func (discard) WriteHeader(int)                  {}
func (discard) Write(p []byte) (int, error)      { return len(p), nil }
func (discard) FlushError() error                { return nil }
func (discard) SetWriteDeadline(time.Time) error { return nil }
