package chat

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

const maxEvent = 32 << 20

var errEventSize = errors.New("chat: an event of the stream is too large")

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
			if e.any {
				return e.data, nil
			}
			e.name = e.name[:0]
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
	if e.any && e.err != errEventSize {
		e.any, e.torn = false, true
		return e.data, nil
	}
	return nil, e.err
}

var (
	dataField  = []byte("data:")
	eventField = []byte("event:")
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
