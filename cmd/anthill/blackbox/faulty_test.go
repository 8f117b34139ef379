package blackbox

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// faulty plays a model provider whose troubles the user orders: the newest
// user message is "order NAME", and NAME chooses the script that answers. It
// needs no state but counters, so that turns may run side by side.
type faulty struct {
	*wireProtocol
	t   *testing.T
	url string
	key string

	mu      sync.Mutex
	scripts map[string]script
	asked   map[string]int // by order, calls with a tool's result apart
}

// script answers one call. attempt counts the calls of its order from 1 on.
type script func(w *wireAnswer, attempt int)

// wireAnswer is the answer of one call to the provider.
type wireAnswer struct {
	http.ResponseWriter
	*faulty
	order string
	gone  <-chan struct{} // closed when the caller hung up
}

func newFaulty(t *testing.T, p *wireProtocol) *faulty {
	f := &faulty{wireProtocol: p, t: t, key: "sk-FAULTCANARY-0123456789abcdefghij", scripts: map[string]script{}, asked: map[string]int{}}
	srv := httptest.NewServer(f)
	f.url = srv.URL
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	f.on("answer", func(w *wireAnswer, _ int) { w.send(f.text.wire()) })
	return f
}

// on chooses what answers the orders that begin with name.
func (f *faulty) on(name string, s script) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scripts[name] = s
}

// start runs the program with this provider.
func (f *faulty) start(more ...option) *server {
	f.t.Helper()
	env := []string{"ANTON_PLANNING_PROVIDER=" + f.engine, "ANTON_PLANNING_MODEL=scripted"}
	if f.engine == "anthropic" {
		env = append(env, "ANTHROPIC_BASE_URL="+f.url, "ANTON_ANTHROPIC_API_KEY="+f.key)
	} else {
		env = append(env, "ANTON_OPENAI_BASE_URL="+f.url, "ANTON_OPENAI_API_KEY="+f.key)
	}
	return start(f.t, append([]option{withEnv(env...)}, more...)...)
}

// calls is how often the model was asked for an order.
func (f *faulty) calls(order string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[order]
}

var orders = regexp.MustCompile(`order ([a-z0-9-]+)`)

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller hung up
	}
	all := orders.FindAllSubmatchIndex(body, -1)
	if r.URL.Path != f.path || len(all) == 0 {
		f.t.Errorf("provider: %s %s: %s", r.Method, r.URL.Path, clip(body))
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	for _, m := range f.result.FindAllSubmatch(body, -1) {
		id := string(bytes.Join(m[1:], nil)) // one of the alternatives
		if n := strings.Count(string(body), `"`+id+`"`); n != 2 {
			f.t.Errorf("provider: id %s is there %d times, instead of with one call and one result: %s", id, n, body)
		}
	}
	newest := all[len(all)-1]
	order := string(body[newest[2]:newest[3]])
	a := &wireAnswer{ResponseWriter: w, faulty: f, order: order, gone: r.Context().Done()}
	if f.result.Match(body[newest[1]:]) {
		f.count(order + " result")
		a.send(f.text.wire())
		return
	}
	attempt, s := f.count(order), f.script(order)
	if s == nil {
		f.t.Errorf("provider: no script for %q", order)
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	s(a, attempt)
}

func (f *faulty) count(order string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[order]++
	return f.asked[order]
}

func (f *faulty) script(order string) script {
	f.mu.Lock()
	defer f.mu.Unlock()
	best := ""
	for name := range f.scripts {
		if strings.HasPrefix(order, name) && len(name) > len(best) {
			best = name
		}
	}
	return f.scripts[best]
}

// send writes bytes of the event stream at once.
func (w *wireAnswer) send(s string) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	// Whether the caller still reads is told by gone.
	if _, err := io.WriteString(w, s); err == nil {
		w.ResponseWriter.(http.Flusher).Flush()
	}
}

// cut breaks the connection.
func (w *wireAnswer) cut() { panic(http.ErrAbortHandler) }

// stall says nothing until the caller hangs up.
func (w *wireAnswer) stall() {
	w.ResponseWriter.(http.Flusher).Flush()
	<-w.gone
}

// refuse answers with an HTTP error in the protocol's words.
func (w *wireAnswer) refuse(status int, kind string, h http.Header) {
	for k, v := range h {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, w.failure(kind)) // a caller that hangs up shows in the test
}

// begun is the text sample up to the first piece of text.
func (p *wireProtocol) begun() string {
	for i, e := range p.text {
		if e.text != "" {
			return p.text[:i+1].wire()
		}
	}
	return ""
}

// failure is an error in the protocol's words; it gives the key away.
func (f *faulty) failure(kind string) string {
	message := providerCanary + " your key " + f.key + " is not welcome"
	if f.engine == "anthropic" {
		return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":%q},"request_id":"req_1"}`, kind, message)
	}
	return fmt.Sprintf(`{"error":{"message":%q,"type":%q,"param":null,"code":%q}}`, message, kind, kind)
}

// wireProtocol is a way to ask a model, with samples of its streams as they
// come over the wire. Every text sample says answerText, and every call sample
// says callText and then calls list_files.
type wireProtocol struct {
	engine string // ANTON_PLANNING_PROVIDER
	path   string
	result *regexp.Regexp // finds the results of tools in a request, by their ids
	text   recording
	call   recording
	// What ends a stream in the middle: an error in a stream that began well.
	trouble func(f *faulty) string
}

const (
	answerText = "Größe 日本 \"ok\"."
	callText   = "Ich sehe nach. "
)

// recording is a stream in its events.
type recording []wireEvent

// wireEvent is one server-sent event with the blank line behind it.
type wireEvent struct {
	raw  string
	text string // what it adds to the answer
	end  ending
}

// ending says what an event means for the completeness of the stream.
type ending int

const (
	goesOn ending = iota
	told          // all that matters is said: a reader may take it for the end
	over          // this is the end
)

func (s recording) wire() string {
	var b strings.Builder
	for _, e := range s {
		b.WriteString(e.raw)
	}
	return b.String()
}

// after tells what a reader of the first n bytes may know: the text for sure
// and at most, and whether the stream can or must be taken for whole. Between
// the last byte of an event's data and the blank line behind it both is right.
func (s recording) after(n int) (least, most string, may, must bool) {
	at := 0
	for _, e := range s {
		if n >= at+len(strings.TrimRight(e.raw, "\r\n")) {
			most += e.text
			may = may || e.end != goesOn
		}
		at += len(e.raw)
		if n >= at {
			least += e.text
			must = must || e.end == over
		}
	}
	return least, most, may, must
}

// sse is an event with or without a name.
func sse(name, data string) wireEvent {
	if name != "" {
		name = "event: " + name + "\n"
	}
	return wireEvent{raw: name + "data: " + data + "\n\n"}
}

func (e wireEvent) says(text string) wireEvent { e.text = text; return e }
func (e wireEvent) ends(how ending) wireEvent  { e.end = how; return e }
