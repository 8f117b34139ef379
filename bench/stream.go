package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// streamer reads event streams line by line.
type streamer struct{ client *http.Client }

func newStreamer() streamer {
	return streamer{&http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 1000,
		ReadBufferSize: 64 << 10}}}
}

// read posts a JSON body and hands on the data of every event. Data is valid
// until the next call, and cut at 1 MiB: what an event is stands in front.
func (s streamer) read(ctx context.Context, url, body string, each func(data []byte) error) (err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("Accept", "text/event-stream")
	res, err := s.client.Do(q)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(res.Body, 1000)) // what is there will do
		return fmt.Errorf("%s: %s", res.Status, why)
	}
	r := bufio.NewReaderSize(res.Body, 1<<20)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			head := bytes.Clone(line)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			line = head
		}
		if data, ok := bytes.CutPrefix(line, dataLine); ok && err == nil {
			err = each(data)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

var (
	dataLine      = []byte("data:")
	deltaType     = []byte(`"type":"response.output_text.delta"`)
	deltaKey      = []byte(`"delta":"`)
	contentKey    = []byte(`"content":"`)
	completedType = []byte(`"type":"response.completed"`)
)

// ask reads anthill's stream of one turn and hands on the text of its deltas as
// JSON has it. A turn that does not complete is an error.
func (s streamer) ask(ctx context.Context, addr, model string, delta func(text []byte) error) error {
	completed := false
	body := fmt.Sprintf(`{"stream":true,"model":%q,"input":"When does the ferry leave?"}`, model)
	err := s.read(ctx, "http://"+addr+"/v1/responses", body, func(data []byte) error {
		kind := data[:min(len(data), 200)] // the type is among the first keys
		switch {
		case bytes.Contains(kind, deltaType):
			text, ok := stringAfter(data, deltaKey)
			if !ok {
				return fmt.Errorf("delta without text: %s", data)
			}
			return delta(text)
		case bytes.Contains(kind, completedType):
			completed = true
		}
		return nil
	})
	if err == nil && !completed {
		err = errors.New("the turn did not complete")
	}
	return err
}

// complete reads the provider's stream directly.
func (s streamer) complete(ctx context.Context, addr, model string, each func(data []byte) error) error {
	body := fmt.Sprintf(`{"stream":true,"model":%q,"messages":[{"role":"user","content":"When does the ferry leave?"}]}`, model)
	return s.read(ctx, "http://"+addr+"/v1/chat/completions", body, each)
}

// stringAfter is the inside of the JSON string that follows key.
func stringAfter(data, key []byte) ([]byte, bool) {
	at := bytes.Index(data, key)
	if at < 0 {
		return nil, false
	}
	data = data[at+len(key):]
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return data[:i], true
		}
	}
	return nil, false
}

// textLen is the length of the text that the inside of a JSON string stands
// for, as long as its escapes stand for one byte each.
func textLen(inside []byte) int {
	n := 0
	for i := 0; i < len(inside); i++ {
		if inside[i] == '\\' {
			i++
		}
		n++
	}
	return n
}
