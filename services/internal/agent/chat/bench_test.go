package chat

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"anthill/services/internal/agent"
	"anthill/services/internal/agent/wire"

	"github.com/openai/openai-go/v3"
)

const chunks = 20000

// burst is a stream of small chunks. With noise, each differs from the last in
// more than its text, as OpenAI's own do.
func burst(noise bool) []byte {
	var b bytes.Buffer
	for i := range chunks {
		extra := ""
		if noise {
			extra = fmt.Sprintf(`,"obfuscation":"%x"`, i*7919)
		}
		fmt.Fprintf(&b, `data: {"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWx","object":"chat.completion.chunk","created":1731000000,"model":"gpt-4.1-2025-04-14","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{"index":0,"delta":{"content":" word%d"},"logprobs":null,"finish_reason":null}]%s}`+"\n\n", i, extra)
	}
	b.WriteString(finish("stop") + done)
	return b.Bytes()
}

func perChunk(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/chunks, "ns/chunk")
}

func decode(b *testing.B, raw []byte) {
	b.ReportAllocs()
	for b.Loop() {
		a := newAnswer(agent.Request{}, func(agent.Delta) error { return nil })
		if err := wire.Read(bytes.NewReader(raw), a); err != nil || a.finish() != agent.FinishStop {
			b.Fatal(err)
		}
	}
	perChunk(b)
}

func BenchmarkDecodeAlike(b *testing.B) { decode(b, burst(false)) }
func BenchmarkDecodeNoisy(b *testing.B) { decode(b, burst(true)) }

// BenchmarkScan is the least a reader can do: find the lines.
func BenchmarkScan(b *testing.B) {
	raw := burst(false)
	for b.Loop() {
		s := bufio.NewScanner(bytes.NewReader(raw))
		for s.Scan() {
		}
		if s.Err() != nil {
			b.Fatal(s.Err())
		}
	}
	perChunk(b)
}

// BenchmarkSDK is what its typed decoder costs.
func BenchmarkSDK(b *testing.B) {
	line := strings.TrimPrefix(strings.TrimSpace(content("word")), "data: ")
	b.ReportAllocs()
	for b.Loop() {
		var c openai.ChatCompletionChunk
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			b.Fatal(err)
		}
	}
}

func overHTTP(b *testing.B, call func(url string) error) {
	raw := burst(false)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for part := raw; len(part) > 0; { // a write for every few chunks, as a busy server flushes
			n := min(len(part), 4<<10)
			if _, err := w.Write(part[:n]); err != nil {
				return
			}
			part = part[n:]
		}
	}))
	defer srv.Close()
	for b.Loop() {
		if err := call(srv.URL); err != nil {
			b.Fatal(err)
		}
	}
	perChunk(b)
}

// BenchmarkHTTP and BenchmarkHTTPPlain compare Stream with a client that only
// finds the lines, over a socket.
func BenchmarkHTTP(b *testing.B) {
	overHTTP(b, func(url string) error {
		p, err := New(Options{BaseURL: url})
		if err != nil {
			return err
		}
		_, err = p.Stream(context.Background(), agent.Request{Model: "m"}, func(agent.Delta) error { return nil })
		return err
	})
}

func BenchmarkHTTPPlain(b *testing.B) {
	overHTTP(b, func(url string) error {
		res, err := http.Post(url, "application/json", strings.NewReader("{}"))
		if err != nil {
			return err
		}
		s := bufio.NewScanner(res.Body)
		for s.Scan() {
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return err
		}
		return res.Body.Close()
	})
}
