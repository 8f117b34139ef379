package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestMedianAndPercentile(t *testing.T) {
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("median of three: %v", got)
	}
	if got := median([]float64{4, 1, 2, 9}); got != 3 {
		t.Errorf("median of four: %v", got)
	}
	values := []time.Duration{5, 1, 4, 2, 3}
	if got := percentile(values, 0.5); got != 3 {
		t.Errorf("p50: %v", got)
	}
	if got := percentile(values, 1); got != 5 {
		t.Errorf("p100: %v", got)
	}
}

func TestAlternateSwapsTheOrder(t *testing.T) {
	b := &bench{options: options{rounds: 3}}
	var order strings.Builder
	mark := func(name string, v float64) side {
		return func(context.Context) (float64, error) { order.WriteString(name); return v, nil }
	}
	p, err := b.alternate(t.Context(), mark("a", 3), mark("r", 2))
	if err != nil || order.String() != "arraar" {
		t.Fatalf("order %q, error %v", order.String(), err)
	}
	if got := median(p.ratios()); got != 1.5 {
		t.Errorf("ratio %v", got)
	}
}

func TestRestPeerAnswersTheSeed(t *testing.T) {
	seed := `{"id":"bench","object":"conversation","title":"T","turns":1,"preview":"P","created_at":"c","updated_at":"u",` +
		`"project":"general","project_path":"/p","disabled_connections":[],"running":false,"metadata":{}}`
	serve, err := restPeer([]byte(seed))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go serve(l) // ends with the listener
	addr := l.Addr().String()
	w, err := dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer w.conn.Close()
	get := request(http.MethodGet, addr, "/v1/conversations/bench", "")
	for range 2 { // the connection stays usable
		if body, err := w.fetch(get); err != nil || string(body) != seed {
			t.Fatalf("%s, %v", body, err)
		}
		if err := w.call(get); err != nil {
			t.Fatal(err)
		}
	}
	post := request(http.MethodPost, addr, "/v1/responses/cancel", `{"conversation_id":"idle"}`)
	if body, err := w.fetch(post); err != nil || string(body) != `{"cancelled":false,"conversation_id":"idle"}` {
		t.Fatalf("%s, %v", body, err)
	}
	if err := w.call(request(http.MethodGet, addr, "/none", "")); err == nil {
		t.Error("a 404 passed for an answer")
	}
}

func TestProviderStreams(t *testing.T) {
	server := httptest.NewServer(newProvider())
	defer server.Close()
	addr := strings.TrimPrefix(server.URL, "http://")
	s := newStreamer()
	const n = 1000
	events, text := 0, 0
	err := s.complete(t.Context(), addr, "burst-1000", func(data []byte) error {
		events++
		if inside, ok := stringAfter(data, contentKey); ok {
			text += textLen(inside)
		}
		if string(data) != " [DONE]\n" && !json.Valid(data) {
			t.Errorf("not JSON: %s", data)
		}
		return nil
	})
	if err != nil || events != n+3 || text != burstText(n) {
		t.Fatalf("%d events, %d of %d bytes, %v", events, text, burstText(n), err)
	}
	var lags []lag
	err = s.complete(t.Context(), addr, "pace-100", func(data []byte) (err error) {
		if text, ok := stringAfter(data, contentKey); ok {
			lags, err = noteLags(lags, text, time.Now())
		}
		return err
	})
	if err != nil || len(lags) < 2 {
		t.Fatalf("%d tokens, %v", len(lags), err)
	}
	for _, l := range lags {
		if l.late < 0 || l.late > 5*time.Second {
			t.Errorf("late by %s", l.late)
		}
	}
}

func TestReadCutsLongEvents(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("event: a\ndata: " + long + "\n\ndata: short\n\n"))
	}))
	defer server.Close()
	var sizes []int
	err := newStreamer().read(t.Context(), server.URL, "{}", func(data []byte) error {
		sizes = append(sizes, len(data))
		return nil
	})
	if err != nil || len(sizes) != 2 || sizes[0] < 1<<19 || sizes[1] != len(" short\n") {
		t.Fatalf("%v, %v", sizes, err)
	}
}

func TestSteadyLeavesOutBeginningAndEnd(t *testing.T) {
	at := func(ms int) lag { return lag{time.UnixMilli(int64(ms)), time.Duration(ms)} }
	got, err := steady([][]lag{{at(1), at(5), at(9)}, {at(3), at(6), at(12)}})
	if err != nil || len(got) != 2 || got[0] != 5 || got[1] != 6 {
		t.Fatalf("%v, %v", got, err)
	}
	if _, err := steady([][]lag{{at(1)}, {at(5)}}); err == nil {
		t.Error("streams that never ran at once passed")
	}
}

func TestShareAddsUp(t *testing.T) {
	for _, turns := range []int{1, 999, 1000, 50_000, 50_123} {
		sum := 0
		for n := range fillConversations {
			sum += share(turns, n)
		}
		if sum != turns {
			t.Errorf("%d of %d turns", sum, turns)
		}
	}
}

func TestCountFindsMarksAcrossReads(t *testing.T) {
	ours, theirs := net.Pipe()
	s := &socket{ours, bufio.NewReaderSize(ours, 16)}
	var got counter
	ended := make(chan error, 1)
	go func() { ended <- s.count(&got) }()
	for _, part := range []string{"xéx", "x\xc3", "\xa9x\xc3", "x\xc3\xc3", "\xa9", "ééé"} {
		if _, err := theirs.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	theirs.Close()
	if <-ended; got.Load() != 6 {
		t.Errorf("counted %d marks", got.Load())
	}
}

func TestMessageHasTheSizeItSays(t *testing.T) {
	if len(fanText) != fanBytes || strings.Count(fanText, string(mark)) != 1 {
		t.Errorf("a message of %d bytes", len(fanText))
	}
}
