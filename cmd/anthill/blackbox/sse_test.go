package blackbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// frame is one server-sent event.
type frame struct {
	name string
	data []byte
	at   time.Time // when it was read
	event
}

// event is what every payload may have.
type event struct {
	Type           string          `json:"type"`
	Seq            *int64          `json:"sequence_number"`
	AtMs           float64         `json:"at_ms"`
	ConversationID string          `json:"conversation_id"`
	Response       json.RawMessage `json:"response"`
	OutputIndex    *int            `json:"output_index"`
	ContentIndex   *int            `json:"content_index"`
	SummaryIndex   *int            `json:"summary_index"`
	ItemID         string          `json:"item_id"`
	Item           json.RawMessage `json:"item"`
	Part           *part           `json:"part"`
	Delta          *string         `json:"delta"`
	Text           *string         `json:"text"`
	Arguments      *string         `json:"arguments"`
	Name           string          `json:"name"`
	Logprobs       *[]any          `json:"logprobs"`

	ThoughtRole string `json:"thought_role"`
	Content     string `json:"content"`
	ToolUseID   string `json:"tool_use_id"`
	Code        string `json:"code"`
	Message     string `json:"message"`
	OutputText  string `json:"output_text"`
}

func (f frame) isDelta() bool { return f.Type == "response.output_text.delta" }

func (f frame) terminal() bool {
	return f.Type == "response.completed" || f.Type == "response.incomplete" || f.Type == "response.failed"
}

func (f frame) seq() int64 { return *f.Seq }

// stream is an event stream that is being read.
type stream struct {
	t      *testing.T
	what   string
	cancel context.CancelFunc
	header http.Header
	frames chan frame
	err    error // valid once frames is closed; nil: it ended properly
	seen   []frame
}

// ask begins a turn and streams it.
func (s *server) ask(body object, h ...http.Header) *stream {
	s.t.Helper()
	b := object{"stream": true}
	for k, v := range body {
		b[k] = v
	}
	return s.stream(http.MethodPost, "/v1/responses", b, h...)
}

// tail attaches to the newest turn of a conversation.
func (s *server) tail(conversation string, from int64) *stream {
	s.t.Helper()
	return s.stream(http.MethodGet, fmt.Sprintf("/v1/responses/tail?conversation_id=%s&from_seq=%d", conversation, from), nil)
}

// replay streams a response that is known by its id; query may be empty.
func (s *server) replay(id, query string) *stream {
	s.t.Helper()
	return s.stream(http.MethodGet, "/v1/responses/"+id+"?stream=true"+query, nil)
}

func (s *server) stream(method, path string, body any, h ...http.Header) *stream {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	var header http.Header
	if len(h) > 0 {
		header = h[0]
	}
	req, err := s.request(ctx, method, path, body, header)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := s.http.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		a, err := s.read(method+" "+path, res)
		s.t.Fatalf("%v %v (%s), want a stream", a, err, res.Header.Get("Content-Type"))
	}
	st := &stream{t: s.t, what: method + " " + path, cancel: cancel, header: res.Header, frames: make(chan frame, 1<<16)}
	go func() {
		defer close(st.frames)
		defer res.Body.Close()
		st.err = readFrames(res.Body, func(f frame) { st.frames <- f })
	}()
	return st
}

// readFrames reads a stream as strictly as the strictest client would. The end
// of the body in mid-frame is an error.
func readFrames(r io.Reader, emit func(frame)) error {
	br := bufio.NewReader(r)
	last := int64(-1)
	for {
		block, err := readBlock(br)
		if err != nil || block == nil {
			return err
		}
		f, err := parseFrame(block)
		if err != nil {
			return fmt.Errorf("%w in %q", err, clip(block))
		}
		if f == nil {
			continue
		}
		if *f.Seq <= last {
			return fmt.Errorf("sequence_number %d after %d", *f.Seq, last)
		}
		last = *f.Seq
		emit(*f)
	}
}

// readBlock reads up to an empty line; nil at the end of the body.
func readBlock(br *bufio.Reader) ([]byte, error) {
	var block []byte
	for {
		line, err := br.ReadBytes('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0 && len(block) == 0:
			return nil, nil
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("cut off after %q", clip(append(block, line...)))
		case err != nil:
			return nil, err
		case bytes.ContainsAny(line, "\r"):
			return nil, fmt.Errorf("CR in %q", clip(line))
		case len(line) == 1:
			return block, nil
		}
		block = append(block, line...)
	}
}

// parseFrame takes exactly an event line and a data line, or comments.
func parseFrame(block []byte) (*frame, error) {
	lines := strings.Split(strings.TrimSuffix(string(block), "\n"), "\n")
	if strings.HasPrefix(lines[0], ":") {
		if len(lines) != 1 {
			return nil, errors.New("a comment together with something else")
		}
		return nil, nil
	}
	name, hasName := strings.CutPrefix(lines[0], "event: ")
	if !hasName || len(lines) != 2 {
		return nil, errors.New("not one event line and one data line")
	}
	data, hasData := strings.CutPrefix(lines[1], "data: ")
	f := &frame{name: name, data: []byte(data), at: time.Now()}
	if !hasData {
		return nil, errors.New("no data line")
	}
	if err := json.Unmarshal(f.data, &f.event); err != nil {
		return nil, err
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(f.data, &top); err != nil {
		return nil, err
	}
	switch _, hasError := top["error"]; {
	case f.Type != name:
		return nil, fmt.Errorf("event %q has type %q", name, f.Type)
	case f.Seq == nil || *f.Seq < 0:
		return nil, errors.New("no sequence_number")
	case f.AtMs < 1e12:
		return nil, errors.New("no at_ms")
	case hasError && f.Type != "response.failed":
		return nil, errors.New("a top-level error")
	}
	return f, nil
}

// next waits for a frame. ok is false at the end of the stream.
func (s *stream) next() (f frame, ok bool) {
	s.t.Helper()
	select {
	case f, ok = <-s.frames:
		if ok {
			s.seen = append(s.seen, f)
		}
		return f, ok
	case <-time.After(patience):
		s.t.Fatalf("%s: no event in time, after %s", s.what, s.outline())
		return f, false
	}
}

// until reads on to the first frame that satisfies ok.
func (s *stream) until(what string, ok func(frame) bool) frame {
	s.t.Helper()
	for {
		f, more := s.next()
		if !more {
			s.t.Fatalf("%s: ended (%v) before %s, after %s", s.what, s.err, what, s.outline())
		}
		if ok(f) {
			return f
		}
	}
}

// conversation reads the first frame, which names the conversation.
func (s *stream) conversation() string {
	s.t.Helper()
	f := s.until("its first event", func(frame) bool { return true })
	if f.Type != "response.created" || f.ConversationID == "" {
		s.t.Fatalf("%s: begins with %s", s.what, f.data)
	}
	return f.ConversationID
}

// untilText reads on until the answer so far ends in s.
func (s *stream) untilText(suffix string) frame {
	s.t.Helper()
	if len(s.seen) > 0 && strings.HasSuffix(s.text(), suffix) {
		return s.seen[len(s.seen)-1]
	}
	return s.until(fmt.Sprintf("the text %q", suffix), func(frame) bool { return strings.HasSuffix(s.text(), suffix) })
}

// rest reads to the end, which must be a proper one, and returns all frames.
func (s *stream) rest() []frame {
	s.t.Helper()
	for {
		if _, more := s.next(); !more {
			break
		}
	}
	if s.err != nil {
		s.t.Fatalf("%s: %v, after %s", s.what, s.err, s.outline())
	}
	return s.seen
}

// turn reads to the end and checks the whole against the grammar.
func (s *stream) turn() *turn {
	s.t.Helper()
	return checkTurn(s.t, s.rest())
}

// abort hangs up and waits until the reader knows.
func (s *stream) abort() {
	s.cancel()
	for f := range s.frames {
		s.seen = append(s.seen, f)
	}
}

// text is the answer as far as it was read.
func (s *stream) text() string { return textOf(s.seen) }

func textOf(frames []frame) string {
	var b strings.Builder
	for _, f := range frames {
		if f.isDelta() {
			b.WriteString(*f.Delta)
		}
	}
	return b.String()
}

func (s *stream) outline() string {
	var names []string
	for _, f := range s.seen {
		names = append(names, fmt.Sprintf("%d %s", f.seq(), strings.TrimPrefix(f.Type, "response.")))
	}
	if n := len(names); n > 30 {
		names = append([]string{fmt.Sprintf("(%d events) …", n)}, names[n-30:]...)
	}
	return strings.Join(names, ", ")
}

// sameFrames compares the payloads of two readings byte by byte.
func sameFrames(t *testing.T, what string, got, want []frame) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d events, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if !bytes.Equal(got[i].data, want[i].data) {
			t.Errorf("%s: event %d is\n%s\nwant\n%s", what, i, got[i].data, want[i].data)
			return
		}
	}
}
