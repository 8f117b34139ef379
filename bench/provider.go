package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// tokenEvery is the pace of 50 tokens a second.
const tokenEvery = 20 * time.Millisecond

// words are what a burst is made of, over and over.
var words = []string{"The", " ferry", " leaves", " at", " half", " past", " seven", ",", " so", " we", " have",
	" time", " for", " coffee", ".", "\n"}

// burstText is the length of the text of n chunks, in bytes.
func burstText(n int) int {
	all, size := len(strings.Join(words, "")), 0
	for _, w := range words[:n%len(words)] {
		size += len(w)
	}
	return n/len(words)*all + size
}

// newProvider speaks OpenAI's chat completions. The model asked for is a word of
// command: short; burst-N for N chunks at once; pace-MS for as many milliseconds
// of tokens, each of which says when it was sent, in nanoseconds.
func newProvider() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", complete)
	return mux
}

func complete(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Model string `json:"model"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	command, arg, _ := strings.Cut(q.Model, "-")
	n, err := strconv.Atoi(arg)
	if err != nil && arg != "" {
		http.Error(w, "no such model", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	out := newChunkWriter(w)
	switch command {
	case "short":
		err = out.burst(3)
	case "burst":
		err = out.burst(n)
	case "pace":
		err = out.pace(time.Duration(n) * time.Millisecond)
	}
	if err == nil {
		w.Write(ending) // a client that is gone needs no ending
	}
}

// The wire of a chunk.
type (
	chunk struct {
		ID      string    `json:"id"`
		Object  string    `json:"object"`
		Created int64     `json:"created"`
		Model   string    `json:"model"`
		Choices [1]choice `json:"choices"`
	}
	choice struct {
		Index        int     `json:"index"`
		Delta        delta   `json:"delta"`
		FinishReason *string `json:"finish_reason"`
	}
	delta struct {
		Content string `json:"content"`
	}
)

// chunkWriter writes the events of one answer, each encoded when it is its turn,
// as a provider's are.
type chunkWriter struct {
	w    http.ResponseWriter
	json *json.Encoder
	next chunk
}

func newChunkWriter(w http.ResponseWriter) *chunkWriter {
	return &chunkWriter{w: w, json: json.NewEncoder(w),
		next: chunk{ID: "chatcmpl-1", Object: "chat.completion.chunk", Created: 1, Model: "m"}}
}

func (c *chunkWriter) write(text string) error {
	if _, err := io.WriteString(c.w, "data: "); err != nil {
		return err
	}
	c.next.Choices[0].Delta.Content = text
	if err := c.json.Encode(&c.next); err != nil { // with the line's end
		return err
	}
	_, err := io.WriteString(c.w, "\n")
	return err
}

// burst sends n chunks as fast as the socket takes them.
func (c *chunkWriter) burst(n int) error {
	for i := range n {
		if err := c.write(words[i%len(words)]); err != nil {
			return err
		}
	}
	return nil
}

// pace sends tokens in time, each flushed.
func (c *chunkWriter) pace(long time.Duration) error {
	time.Sleep(rand.N(tokenEvery)) // streams do not beat in step
	tick := time.NewTicker(tokenEvery)
	defer tick.Stop()
	flush := http.NewResponseController(c.w).Flush
	for end := time.Now().Add(long); time.Now().Before(end); <-tick.C {
		if err := c.write(strconv.FormatInt(time.Now().UnixNano(), 10) + " "); err != nil {
			return err
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}

var ending = []byte(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",` +
	`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" +
	`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],` +
	`"usage":{"prompt_tokens":10,"completion_tokens":10,"total_tokens":20}}` + "\n\ndata: [DONE]\n\n")
