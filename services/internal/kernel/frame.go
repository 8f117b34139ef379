package kernel

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// frameMost bounds one frame of a worker, in bytes. What it shows it bounds
// itself; more than this is not from our program.
const frameMost = 16 << 20

var errFrame = errors.New("kernel: not a frame")

// frame is what a worker says.
type frame struct {
	Ev string `json:"ev"` // hello, sync, display, progress, log, beat, model, done
	ID int    `json:"id"` // of what is to be answered; 0: nothing is

	PID     int    `json:"pid"` // hello
	Version string `json:"version"`

	Kind string            `json:"kind"` // display
	Data map[string]string `json:"data"`

	Message string   `json:"message"` // progress
	Percent *float64 `json:"percent"`

	Text string `json:"text"` // log

	Prompt    string          `json:"prompt"` // model
	System    string          `json:"system"`
	MaxTokens int             `json:"max_tokens"`
	Schema    json.RawMessage `json:"schema"`

	doneFrame
}

// doneFrame is the end of a cell.
type doneFrame struct {
	Error       string   `json:"error"` // traceback; empty: none
	Interrupted bool     `json:"interrupted"`
	Missing     []string `json:"missing"` // modules
}

// request is what a worker is told.
type request struct {
	Op string `json:"op"` // cell, answer
	ID int    `json:"id,omitempty"`

	Number int     `json:"number"` // cell
	Code   string  `json:"code"`
	Beat   float64 `json:"beat,omitempty"` // seconds between signs of life

	Text  string `json:"text,omitempty"` // answer
	Error string `json:"error,omitempty"`
}

func (r request) encode() ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("kernel: encode request: %w", err)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...), nil
}

// readFrame reads one frame; errFrame is not from our program.
func readFrame(r io.Reader) (f frame, err error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return frame{}, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > frameMost {
		return frame{}, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return frame{}, err
	}
	if err := json.Unmarshal(body, &f); err != nil {
		return frame{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	return f, nil
}
