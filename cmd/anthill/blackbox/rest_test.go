package blackbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

type object = map[string]any

// answer is a whole HTTP answer.
type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

// headers makes a header of names and values in turn.
func headers(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// request builds a request; a body that is no string, bytes or reader is sent
// as JSON. The path is sent as it is.
func (s *server) request(ctx context.Context, method, path string, body any, h http.Header) (*http.Request, error) {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	case []byte:
		r = bytes.NewReader(b)
	case io.Reader:
		r = b
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, r)
	if err != nil {
		return nil, err
	}
	if r != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if s.opts.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.opts.key)
	}
	for k, v := range h {
		if k == "Host" {
			req.Host = v[0]
		} else {
			req.Header[k] = v
		}
	}
	return req, nil
}

// do makes a request and reads the whole answer.
func (s *server) do(method, path string, body any, h ...http.Header) answer {
	s.t.Helper()
	a, err := s.try(method, path, body, h...)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// try is do for other goroutines than the test's.
func (s *server) try(method, path string, body any, h ...http.Header) (answer, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	var header http.Header
	if len(h) > 0 {
		header = h[0]
	}
	what := method + " " + path
	req, err := s.request(ctx, method, path, body, header)
	if err != nil {
		return answer{}, err
	}
	res, err := s.http.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", what, err)
	}
	return s.read(what, res)
}

// begin makes a request that is answered later: wait for it.
func (s *server) begin(method, path string, body any, h ...http.Header) (wait func() answer) {
	s.t.Helper()
	answers := make(chan answer, 1)
	failed := make(chan error, 1)
	go func() {
		a, err := s.try(method, path, body, h...)
		failed <- err
		answers <- a
	}()
	return func() answer {
		s.t.Helper()
		if err := <-failed; err != nil {
			s.t.Fatal(err)
		}
		return <-answers
	}
}

func (s *server) read(what string, res *http.Response) (answer, error) {
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, fmt.Errorf("%s: read the answer: %w", what, err)
	}
	return answer{s.t, what, res.StatusCode, res.Header, data}, nil
}

func (s *server) get(path string) answer    { s.t.Helper(); return s.do(http.MethodGet, path, nil) }
func (s *server) delete(path string) answer { s.t.Helper(); return s.do(http.MethodDelete, path, nil) }
func (s *server) post(path string, body any) answer {
	s.t.Helper()
	return s.do(http.MethodPost, path, body)
}
func (s *server) put(path string, body any) answer {
	s.t.Helper()
	return s.do(http.MethodPut, path, body)
}
func (s *server) patch(path string, body any) answer {
	s.t.Helper()
	return s.do(http.MethodPatch, path, body)
}
func (a answer) String() string { return fmt.Sprintf("%s: %d %s", a.what, a.status, clip(a.body)) }
func (a answer) object() object { a.t.Helper(); return decode[object](a.t, a.body) }

// ok is the JSON object of an answer that must be 200.
func (a answer) ok() object { a.t.Helper(); return a.got(http.StatusOK) }

// created is that of one that must be 201.
func (a answer) created() object { a.t.Helper(); return a.got(http.StatusCreated) }

func (a answer) got(status int) object {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%v, want %d", a, status)
	}
	if typ := a.header.Get("Content-Type"); !strings.HasPrefix(typ, "application/json") {
		a.t.Errorf("%v: Content-Type %q", a, typ)
	}
	return a.object()
}

// refused checks an error answer: its status, FastAPI's detail (empty: any
// sentence), and OpenAI's error beside it where SDKs call.
func (a answer) refused(status int, detail string) object {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%v, want %d", a, status)
	}
	o := a.shape()
	got, isText := o["detail"].(string)
	if !isText {
		got, isText = o["message"].(string)
	}
	if detail != "" && (!isText || got != detail) {
		a.t.Errorf("%v, want detail %q", a, detail)
	}
	return o
}

// isAnt says whether a path, with a base path or without, belongs to the ANT API.
func isAnt(path string) bool {
	path, _, _ = strings.Cut(path, "?")
	_, rest, api := strings.Cut(path, "/api/")
	return path == "/ws" || strings.HasPrefix(path, "/ws/") || api && rest != "v1" && !strings.HasPrefix(rest, "v1/")
}

// antShape checks that an error says the same under both names that clients know.
func (a answer) antShape(o object) {
	a.t.Helper()
	if msg, _ := o["error"].(string); msg == "" || o["message"] != msg {
		a.t.Errorf("%v: error and message must be there, and the same", a)
	}
}

// shape checks the form of an error answer.
func (a answer) shape() object {
	a.t.Helper()
	if typ := a.header.Get("Content-Type"); typ != "application/json" {
		a.t.Errorf("%v: Content-Type %q", a, typ)
	}
	o := a.object()
	_, path, _ := strings.Cut(a.what, " ")
	if isAnt(path) {
		a.antShape(o)
		return o
	}
	switch d := o["detail"].(type) {
	case string:
		if d == "" || a.status == http.StatusUnprocessableEntity {
			a.t.Errorf("%v: detail must be a list for 422, a sentence else", a)
		}
	case []any:
		if len(d) == 0 || a.status != http.StatusUnprocessableEntity {
			a.t.Errorf("%v: detail must be a list for 422, a sentence else", a)
		}
		for _, e := range d {
			e, _ := e.(object)
			loc, _ := e["loc"].([]any)
			typ, _ := e["type"].(string)
			msg, _ := e["msg"].(string)
			if len(loc) == 0 || typ == "" || msg == "" {
				a.t.Errorf("%v: entry of detail without type, loc or msg", a)
			}
		}
	default:
		a.t.Errorf("%v: no detail", a)
	}
	shared := slices.ContainsFunc([]string{"/v1/responses", "/v1/conversations", "/v1/models", "/v1/chat"},
		func(prefix string) bool { return strings.HasPrefix(path, prefix) })
	e, isObject := o["error"].(object)
	if shared != isObject {
		a.t.Errorf("%v: error object there: %v, want %v", a, isObject, shared)
	}
	if isObject {
		msg, _ := e["message"].(string)
		typ, _ := e["type"].(string)
		_, hasParam := e["param"]
		_, hasCode := e["code"]
		if msg == "" || typ == "" || !hasParam || !hasCode {
			a.t.Errorf("%v: error lacks message, type, param or code", a)
		}
	}
	return o
}

// raw sends bytes over a connection of its own and reads until the server
// closes it, or for as long as the test is patient.
func (s *server) raw(request string) string {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	data, err := io.ReadAll(c)
	if err != nil && len(data) == 0 {
		s.t.Fatal(err)
	}
	return string(data)
}

func decodeInto(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("not the JSON that was expected: %v: %s", err, clip(data))
	}
}

func decode[T any](t *testing.T, data []byte) (v T) {
	t.Helper()
	decodeInto(t, data, &v)
	return v
}

func clip(b []byte) string {
	if len(b) > 600 {
		return string(b[:600]) + "…"
	}
	return string(b)
}

// str finds a text in nested objects.
func str(o object, path ...string) string {
	for _, p := range path[:len(path)-1] {
		o, _ = o[p].(object)
	}
	s, _ := o[path[len(path)-1]].(string)
	return s
}
