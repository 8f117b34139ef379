package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"anthill/services/internal/dial"
)

func fetch(t *testing.T, p dial.Policy, url string, more string) (string, error) {
	t.Helper()
	in := json.RawMessage(fmt.Sprintf(`{"url":%q%s}`, url, more))
	return Tools(p)[0].Run(t.Context(), in)
}

func TestFetch(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/page":
			w.Header().Set("Content-Type", "text/html; charset=iso-8859-1")
			fmt.Fprint(w, "<html><head><title>T</title><script>alert(1)</script></head><body><h1>Caf\xe9</h1><p>See <a href=\"/x\">more</a>.</p></body></html>")
		case "/json":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"a":1}`)
		case "/long":
			fmt.Fprint(w, strings.Repeat("é", 50_000))
		case "/binary":
			w.Header().Set("Content-Type", "application/octet-stream")
		case "/away":
			http.Redirect(w, r, "/json", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/file":
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	here := dial.Policy{Private: true}
	for path, want := range map[string]string{"/page": "# Café", "/json": `{"a":1}`, "/away": `{"a":1}`, "/long": "these are its first 20000 characters"} {
		if got, err := fetch(t, here, s.URL+path, ""); err != nil || !strings.Contains(got, want) || strings.Contains(got, "alert") {
			t.Errorf("%s: %.200q, %v", path, got, err)
		}
	}
	if got, _ := fetch(t, here, s.URL+"/page", ""); !strings.Contains(got, s.URL+"/x") {
		t.Errorf("links are not whole: %q", got)
	}
	for path, want := range map[string]string{"/none": "status 404", "/binary": "not text", "/loop": "too often", "/file": "http://"} {
		if got, err := fetch(t, here, s.URL+path, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %.100q, %v", path, got, err)
		}
	}
}

// Addresses that are not of the internet are never connected to, by whatever
// name or redirect (S13).
func TestFetchRefuses(t *testing.T) {
	var hits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer s.Close()
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	for _, u := range []string{s.URL, "http://localhost" + port, "http://0.0.0.0" + port, "http://[::1]" + port, "http://[::ffff:127.0.0.1]" + port,
		"http://169.254.169.254/latest/meta-data", "http://[::ffff:a9fe:a9fe]/", "http://[fe80::1]/", "http://10.0.0.1:1/", "http://2130706433" + port,
		"http://0x7f.1" + port, "file:///etc/passwd", "gopher://127.0.0.1" + port, "http://user:pass@127.0.0.1" + port, "", "::", "http://"} {
		if got, err := fetch(t, dial.Policy{}, u, ""); err == nil {
			t.Errorf("%s: %q", u, got)
		}
	}
	if hits.Load() > 0 {
		t.Errorf("%d requests arrived", hits.Load())
	}
}
