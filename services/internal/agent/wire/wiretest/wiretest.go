// Package wiretest holds what every provider must live up to, whatever it
// speaks: a provider's tests run it against a scripted server.
package wiretest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"
)

// Key is the key that every provider under test has. It must never show.
const Key = "sk-canary-0123456789abcdef"

// Subject is a provider under test.
type Subject struct {
	New    func(wire.Options) (agent.Provider, error)
	Path   string           // of the call
	Sample string           // a stream of some text with characters of several bytes, and one call or more
	Want   agent.Completion // what the sample says; Usage and Trace are left to the provider's own tests
	End    string           // begins the event that makes the sample whole
	// Says is a stream that says the text, with its end or without.
	Says func(text string, ended bool) string
}

// Provider is the subject at a server. The key is added to the options.
func (s Subject) Provider(t testing.TB, o wire.Options, handler http.HandlerFunc) agent.Provider {
	t.Helper()
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	o.BaseURL, o.APIKey = srv.URL, Key
	p, err := s.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Stream is a handler that answers with events.
func Stream(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(w, body)
	}
}

// Collect makes a call and returns what was emitted as one string: text as it
// is, (reasoning), <id name> for a call.
func Collect(p agent.Provider, req agent.Request) (got string, out agent.Completion, err error) {
	var b strings.Builder
	out, err = p.Stream(context.Background(), req, func(d agent.Delta) error {
		switch {
		case d.CallStart != nil:
			fmt.Fprintf(&b, "<%s %s>", d.CallStart.ID, d.CallStart.Name)
		case d.Reasoning != "":
			fmt.Fprintf(&b, "(%s)", d.Reasoning)
		default:
			b.WriteString(d.Text)
		}
		return nil
	})
	return b.String(), out, err
}

// Body is a handler that keeps the body of the last request, decoded, and then
// goes on to the next handler.
func Body(t testing.TB, into *map[string]any, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		*into = nil
		if err != nil || json.Unmarshal(raw, into) != nil {
			t.Errorf("body %q, %v", raw, err)
		}
		next(w, r)
	}
}

// Same compares JSON with what a request was.
func Same(t testing.TB, got map[string]any, want string) {
	t.Helper()
	var w map[string]any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(got, w) {
		return
	}
	for k, v := range w {
		if !reflect.DeepEqual(got[k], v) {
			g, _ := json.Marshal(got[k])
			e, _ := json.Marshal(v)
			t.Errorf("%s:\n got %s\nwant %s", k, g, e)
		}
	}
	for k, v := range got {
		if _, expected := w[k]; !expected {
			t.Errorf("%s was sent: %v", k, v)
		}
	}
}

// served answers without a network: with a body that is read as it is.
type served func() io.Reader

func (s served) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/event-stream"}}, Request: r,
		Body: io.NopCloser(s()),
	}, nil
}

func (s Subject) read(t testing.TB, body func() io.Reader) (string, agent.Completion, error) {
	t.Helper()
	p, err := s.New(wire.Options{BaseURL: "http://model.test", APIKey: Key, HTTPClient: &http.Client{Transport: served(body)}})
	if err != nil {
		t.Fatal(err)
	}
	return Collect(p, agent.Request{Model: "m"})
}

// Run runs everything.
func Run(t *testing.T, s Subject) {
	t.Run("sample", s.sample)
	t.Run("cuts", s.cuts)
	t.Run("ways to send", s.ways)
	t.Run("broken before anything", s.broken)
	t.Run("stalls", s.stalls)
	t.Run("failures", s.failures)
	t.Run("failures in the stream", s.inside)
	t.Run("nonsense", s.nonsense)
	t.Run("caller", s.caller)
	t.Run("connection", s.connection)
	t.Run("redirects", s.redirects)
}

func (s Subject) check(t testing.TB, out agent.Completion, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if out.Text != s.Want.Text || out.Finish != s.Want.Finish || !reflect.DeepEqual(out.Calls, s.Want.Calls) {
		t.Errorf("got %+v\nwant %+v", out, s.Want)
	}
}

func (s Subject) sample(t *testing.T) {
	paths := []string{}
	p := s.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.Method+" "+r.URL.Path)
		if !strings.Contains(fmt.Sprint(r.Header), Key) {
			t.Error("the key was not sent")
		}
		Stream(s.Sample)(w, r)
	})
	_, out, err := Collect(p, agent.Request{Model: "m"})
	s.check(t, out, err)
	if len(paths) != 1 || paths[0] != "POST "+s.Path {
		t.Errorf("calls: %q", paths)
	}
}

// A stream that ends at any byte is a whole answer or a cut one, never less than
// the whole that passes for it.
func (s Subject) cuts(t *testing.T) {
	at := strings.Index(s.Sample, s.End)
	if at < 0 {
		t.Fatal("the sample has no such end")
	}
	whole := at + strings.Index(s.Sample[at:]+"\n\n", "\n\n")
	for n := range len(s.Sample) + 1 {
		for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
			_, out, err := s.read(t, func() io.Reader {
				return io.MultiReader(strings.NewReader(s.Sample[:n]), iotest.ErrReader(end))
			})
			if n >= whole {
				s.check(t, out, err)
				continue
			}
			if err != nil || out.Finish != agent.FinishCut || !strings.HasPrefix(s.Want.Text, out.Text) {
				t.Fatalf("cut at %d of %d with %v: %+v, %v", n, whole, end, out, err)
			}
			for i, c := range out.Calls {
				if i >= len(s.Want.Calls) || c.ID != s.Want.Calls[i].ID || json.Valid([]byte(c.Input)) && c.Input != s.Want.Calls[i].Input {
					t.Fatalf("cut at %d of %d: call %+v", n, whole, c)
				}
			}
		}
	}
}

func (s Subject) ways(t *testing.T) {
	for name, sample := range map[string]string{
		"CRLF":            strings.ReplaceAll(s.Sample, "\n", "\r\n"),
		"comments":        ": hello\n\n" + strings.ReplaceAll(s.Sample, "\n\n", "\n: ping\n\n:\n\n"),
		"empty events":    "data:\n\nevent: error\n\n" + strings.ReplaceAll(s.Sample, "\n\n", "\n\nevent: error\ndata: \n\n"),
		"no blank":        strings.ReplaceAll(s.Sample, ": ", ":"),
		"names and ids":   strings.ReplaceAll(s.Sample, "data:", "id: 7\nretry: 5\nunknown\ndata:"),
		"no names":        strings.Join(strings.FieldsFunc(s.Sample, func(r rune) bool { return r == '\n' }), "\n\n") + "\n\n",
		"an empty object": s.Sample[:strings.Index(s.Sample, "\n\n")+2] + "data: {}\n\n" + s.Sample[strings.Index(s.Sample, "\n\n")+2:],
	} {
		_, out, err := s.read(t, func() io.Reader { return strings.NewReader(sample) })
		t.Run(name, func(t *testing.T) { s.check(t, out, err) })
	}
	for name, read := range map[string]func(io.Reader) io.Reader{
		"byte by byte": iotest.OneByteReader, "in halves": iotest.HalfReader, "end with data": iotest.DataErrReader,
	} {
		_, out, err := s.read(t, func() io.Reader { return read(strings.NewReader(s.Sample)) })
		t.Run(name, func(t *testing.T) { s.check(t, out, err) })
	}
	long := strings.Repeat("ü", 100<<10)
	got, out, err := s.read(t, func() io.Reader { return strings.NewReader(s.Says(long, true)) })
	if err != nil || got != long || out.Text != long || out.Finish != agent.FinishStop {
		t.Errorf("long: %d bytes, finish %s, %v", len(got), out.Finish, err)
	}
}

func (s Subject) broken(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	p, err := s.New(wire.Options{BaseURL: srv.URL, APIKey: Key})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = Collect(p, agent.Request{})
	e := Failed(t, err, agent.CodeUnreachable)
	if !e.Temporary() || strings.Contains(e.Error(), srv.URL) {
		t.Errorf("got %v", e)
	}
	p = s.Provider(t, wire.Options{}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, _, err = Collect(p, agent.Request{})
	if e := Failed(t, err, agent.CodeUnreachable); !e.Temporary() {
		t.Errorf("got %v", e)
	}
	_, _, err = s.read(t, func() io.Reader { return iotest.ErrReader(errors.New("connection reset")) })
	Failed(t, err, agent.CodeUnreachable)
}

func (s Subject) stalls(t *testing.T) {
	const soon = 50 * time.Millisecond
	for name, c := range map[string]struct {
		opts   wire.Options
		before string // what arrives before the silence; "-" is not even the header
		code   string
		text   string
	}{
		"before the header":      {wire.Options{FirstByte: soon}, "-", agent.CodeTimeout, ""},
		"before the first event": {wire.Options{FirstByte: soon}, "", agent.CodeTimeout, ""},
		"inside":                 {wire.Options{Idle: soon}, s.Says("half", false), agent.CodeTimeout, "half"},
		"inside an event":        {wire.Options{Idle: soon}, s.Says("half", false) + "data: {\"", agent.CodeTimeout, "half"},
		"after the answer":       {wire.Options{Idle: soon}, s.Says("whole", true), "", "whole"},
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan struct{})
			p := s.Provider(t, c.opts, func(w http.ResponseWriter, r *http.Request) {
				defer close(gone)
				// Unless the body is read, the server does not notice that the client left.
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					t.Error(err)
				}
				if c.before != "-" {
					Stream(c.before)(w, r)
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
			})
			_, out, err := Collect(p, agent.Request{})
			if c.code != "" {
				Failed(t, err, c.code)
			} else if err != nil {
				t.Error(err)
			}
			if out.Text != c.text {
				t.Errorf("%+v", out)
			}
			<-gone // the provider was told
		})
	}
}

func (s Subject) nonsense(t *testing.T) {
	for name, c := range map[string]struct{ kind, body, code string }{
		"not JSON":       {"text/event-stream", "data: {nope " + Key + "}\n\n", agent.CodeUnexpected},
		"deep":           {"text/event-stream", "data: " + strings.Repeat("[", 200000) + strings.Repeat("]", 200000) + "\n\n", agent.CodeUnexpected},
		"deep error":     {"text/event-stream", "event: error\ndata: " + strings.Repeat("[", 5<<20) + "\n\n", agent.CodeUnexpected},
		"huge event":     {"text/event-stream", "data: " + strings.Repeat("x", 33<<20), agent.CodeUnexpected},
		"web page":       {"text/html", "<html>" + Key, agent.CodeUnreachable},
		"JSON":           {"application/json", `{"hello":"` + Key + `"}`, agent.CodeUnreachable},
		"no JSON at all": {"application/json", Key, agent.CodeUnexpected},
		"a list":         {"application/json; charset=utf-8", "[]", agent.CodeUnreachable},
		"a 200 that is none": {"application/json", `{"error":"Unexpected endpoint or method. (POST /x). Returning 200 anyway"}`,
			agent.CodeUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", c.kind)
				_, _ = io.WriteString(w, c.body)
			})
			_, out, err := Collect(p, agent.Request{Model: "m"})
			e := Failed(t, err, c.code)
			if out.Text != "" || e.Code == agent.CodeUnreachable && (e.Temporary() || e.Status != http.StatusNotFound) {
				t.Errorf("%+v, %#v", out, e)
			}
		})
	}
}

// caller is the side of the one who asks: cancels, fails, is answered.
func (s Subject) caller(t *testing.T) {
	want := errors.New("stop here")
	p := s.Provider(t, wire.Options{}, Stream(s.Sample))
	n := 0
	_, err := p.Stream(context.Background(), agent.Request{}, func(agent.Delta) error { n++; return want })
	if err != want || n != 1 {
		t.Errorf("%v after %d", err, n)
	}

	gone := make(chan struct{})
	p = s.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		_, _ = io.Copy(io.Discard, r.Body)
		Stream(s.Says("so far", false))(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancelCause(context.Background())
	out, err := p.Stream(ctx, agent.Request{}, func(agent.Delta) error { cancel(want); return nil })
	if !errors.Is(err, want) || out.Text != "so far" {
		t.Errorf("%v, %+v", err, out)
	}
	<-gone // the provider was told
}

func (s Subject) connection(t *testing.T) {
	addrs := map[string]bool{}
	p := s.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
		addrs[r.RemoteAddr] = true
		Stream(s.Sample)(w, r)
	})
	for range 3 {
		_, out, err := Collect(p, agent.Request{})
		s.check(t, out, err)
	}
	if len(addrs) != 1 {
		t.Errorf("%d connections", len(addrs))
	}
}

// redirects may lead to another path or port of the host, never to another host
// with the key.
func (s Subject) redirects(t *testing.T) {
	there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "localhost") {
			t.Errorf("another host was asked with %v", r.Header)
		}
		Stream(s.Sample)(w, r)
	}))
	defer there.Close()
	p := s.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, there.URL+"/else", http.StatusPermanentRedirect)
	})
	_, out, err := Collect(p, agent.Request{})
	s.check(t, out, err)

	other := strings.Replace(there.URL, "127.0.0.1", "localhost", 1)
	p = s.Provider(t, wire.Options{}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other, http.StatusTemporaryRedirect)
	})
	_, _, err = Collect(p, agent.Request{})
	Failed(t, err, agent.CodeUnreachable)
}

// Fuzz has arbitrary bytes read as a stream: whatever they are, reading them ends,
// and what comes of it can be shown and kept.
func Fuzz(f *testing.F, s Subject, read func(stream io.Reader, emit func(agent.Delta) error) (agent.Completion, error)) {
	f.Add([]byte(s.Sample))
	f.Add([]byte(s.Says("text", true)))
	f.Add([]byte("event: error\ndata: {\"error\":{\"message\":\"x\"}}\n\n"))
	f.Add([]byte("data: [DONE]\n\n"))
	for _, event := range strings.SplitAfter(s.Sample, "\n\n") {
		f.Add([]byte(event + s.Sample))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		said := ""
		out, err := read(bytes.NewReader(stream), func(d agent.Delta) error {
			if said += d.Text; !utf8.ValidString(d.Text+d.Reasoning) || (d == agent.Delta{}) {
				t.Fatalf("emitted %+v", d)
			}
			return nil
		})
		if f := (*wire.Failure)(nil); err != nil && !errors.As(err, &f) {
			t.Fatalf("%T: %v", err, err)
		}
		if out.Text != said || out.Finish == "" {
			t.Fatalf("emitted %q, kept %q, %s", said, out.Text, out.Finish)
		}
		seen := map[string]bool{}
		for _, c := range out.Calls {
			if c.ID == "" || c.Name == "" || seen[c.ID] {
				t.Fatalf("calls %+v", out.Calls)
			}
			seen[c.ID] = true
		}
		if out.Trace != nil && !json.Valid(out.Trace.Data) {
			t.Fatalf("trace %q", out.Trace.Data)
		}
	})
}
