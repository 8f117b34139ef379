package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/tidwall/gjson"
)

const maxEvent = 32 << 20

var errEventSize = errors.New("wire: an event of the stream is too large")

// Event is one event of a stream. Its bytes are valid until Answer.Event returns.
type Event struct {
	Data []byte // lines joined
	Torn bool   // the stream ended inside the event
}

// JSON is the object that the event holds. One that is torn is the zero Result:
// the missing end tells of the cut.
func (e Event) JSON() (gjson.Result, error) {
	if !valid(e.Data) {
		if e.Torn {
			return gjson.Result{}, nil
		}
		return gjson.Result{}, &Failure{Text: "an event of the stream is not JSON"}
	}
	return gjson.ParseBytes(e.Data), nil
}

// maxQuick bounds what gjson checks: it recurses into nested values, so a hostile
// event of a few MiB of brackets would exhaust the stack.
const maxQuick = 64 << 10

func valid(data []byte) bool {
	if len(data) <= maxQuick {
		return gjson.ValidBytes(data) // several times as fast
	}
	return json.Valid(data)
}

// brokenError is a connection that failed, as opposed to a provider that did.
type brokenError struct{ error }

func (e brokenError) Unwrap() error { return e.error }

// Read hands the events of a stream to the answer until either is done. Its
// error is a *Failure, the answer's, or what broke the stream.
func Read(body io.Reader, a Answer) error {
	_, err := read(body, a)
	return err
}

// read says, too, whether some event arrived.
func read(body io.Reader, a Answer) (begun bool, err error) {
	w, _ := body.(*watch)
	ev := newEvents(body)
	for !a.Done() {
		data, err := ev.next()
		switch {
		case errors.Is(err, io.EOF):
			return begun, nil
		case errors.Is(err, errEventSize):
			return begun, &Failure{Text: err.Error()}
		case err != nil:
			return begun, brokenError{err}
		case bytes.Equal(ev.name, errorEvent):
			return begun, ParseFailure(data)
		}
		if err := a.Event(Event{Data: data, Torn: ev.torn}); err != nil {
			return begun, err
		}
		begun = true
		if w != nil && a.Finished() {
			w.hurry()
		}
	}
	return begun, nil
}

// events splits a server-sent event stream. The slices it returns are valid
// until the next call.
type events struct {
	r    *bufio.Reader
	data []byte // of the event under way, lines joined
	name []byte
	any  bool // the event under way has data
	torn bool // the stream ended inside the last event
	err  error
}

func newEvents(r io.Reader) *events { return &events{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the data of the next event. A last event that the stream leaves
// without its blank line is returned, too, with torn set. At the end the error
// is io.EOF, or what broke the stream.
func (e *events) next() (data []byte, err error) {
	e.data, e.name, e.any = e.data[:0], e.name[:0], false
	for e.err == nil {
		line, err := e.line()
		if err != nil {
			e.err = err
			if len(line) == 0 {
				break
			}
		}
		switch {
		case len(line) == 0:
			if len(e.data) > 0 {
				return e.data, nil
			}
			e.name, e.any = e.name[:0], false // one without data is none
		case bytes.HasPrefix(line, dataField):
			if e.any {
				e.data = append(e.data, '\n')
			}
			e.any = true
			e.data = append(e.data, bytes.TrimPrefix(line[len(dataField):], space)...)
			if len(e.data) > maxEvent {
				e.err = errEventSize
				return nil, e.err
			}
		case bytes.HasPrefix(line, eventField):
			e.name = append(e.name[:0], bytes.TrimPrefix(line[len(eventField):], space)...)
		}
		// What is left are comments and fields of no interest.
	}
	if len(e.data) > 0 && e.err != errEventSize {
		e.torn = true
		return e.data, nil
	}
	return nil, e.err
}

var (
	dataField  = []byte("data:")
	eventField = []byte("event:")
	errorEvent = []byte("error")
	space      = []byte(" ")
)

// line returns one line without its end. A line that the stream breaks off
// comes with the error.
func (e *events) line() ([]byte, error) {
	line, err := e.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) && len(long) <= maxEvent {
			line, err = e.r.ReadSlice('\n')
			long = append(long, line...)
		}
		if line = long; len(long) > maxEvent {
			return nil, errEventSize
		}
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), err
}
