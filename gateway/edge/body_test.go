package edge

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// readBody answers what became of reading the body.
func readBody(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		http.Error(w, "too slow", http.StatusRequestTimeout)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		fmt.Fprint(w, len(b))
	}
}

// chunked hides the length of a body from the client.
func chunked(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }

func isUpload(r *http.Request) bool { return r.URL.Path == "/upload" }

func TestBodySize(t *testing.T) {
	addr := serve(t, Config{MaxBody: 1000, LargeBody: isUpload}, readBody)
	small, large := strings.Repeat("x", 1000), strings.Repeat("x", 1001)
	for _, tc := range []struct {
		name, path string
		body       io.Reader
		status     int
		answer     string
	}{
		{"none", "/", nil, 200, "0"},
		{"empty", "/", strings.NewReader(""), 200, "0"},
		{"at the limit", "/", strings.NewReader(small), 200, "1000"},
		{"at the limit, chunked", "/", chunked(small), 200, "1000"},
		{"over", "/", strings.NewReader(large), 413, ""},
		{"over, chunked", "/", chunked(large), 413, "too large\n"},
		{"upload", "/upload", strings.NewReader(large), 200, "1001"},
		{"upload, chunked", "/upload", chunked(large), 200, "1001"},
	} {
		resp, body := do(t, "POST", "http://"+addr+tc.path, tc.body)
		if resp.StatusCode != tc.status || tc.answer != "" && body != tc.answer {
			t.Errorf("%s: %s %q", tc.name, resp.Status, body)
		}
	}

	// The announcement is enough: nothing of this body is ever sent.
	r, _ := raw(t, addr, "PUT / HTTP/1.1\r\nHost: "+addr+"\r\nContent-Length: 1073741824\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("announced: %s", resp.Status)
	}
}

func TestContentType(t *testing.T) {
	addr := serve(t, Config{LargeBody: isUpload}, readBody)
	const multipart = "multipart/form-data; boundary=x"
	for _, tc := range []struct {
		method, path, body string
		types              []string
		ok                 bool
	}{
		{"POST", "/", "{}", nil, true},
		{"POST", "/", "{}", []string{"application/json"}, true},
		{"POST", "/", "{}", []string{"Application/JSON; Charset=UTF-8"}, true},
		{"POST", "/", "{}", []string{`application/json;charset="utf-8"`}, true},
		{"PATCH", "/", "{}", []string{"application/merge-patch+json"}, true},
		{"POST", "/", "{}", []string{"application/json; charset=utf-16"}, false},
		{"POST", "/", "{}", []string{"text/plain"}, false},
		{"POST", "/", "{}", []string{"text/plain;application/json"}, false},
		{"POST", "/", "{}", []string{"application/jsonx"}, false},
		{"POST", "/", "a=b", []string{"application/x-www-form-urlencoded"}, false},
		{"POST", "/", "x", []string{multipart}, false},
		{"PUT", "/", "{}", []string{"text/plain"}, false},
		{"DELETE", "/", "{}", []string{"text/plain"}, false},
		{"POST", "/", "{}", []string{"application/json", "text/plain"}, false},
		{"POST", "/", "{}", []string{";"}, false},
		{"POST", "/upload", "x", []string{multipart}, true},
		{"POST", "/upload", "{}", []string{"application/json"}, true},
		{"POST", "/upload", "x", []string{"text/plain"}, false},
		{"POST", "/", "", []string{"text/plain"}, true}, // nothing that a type could be of
		{"GET", "/", "{}", []string{"text/plain"}, true},
		{"DELETE", "/", "", nil, true},
	} {
		var headers []string
		for _, v := range tc.types {
			headers = append(headers, "Content-Type", v)
		}
		for _, body := range []io.Reader{strings.NewReader(tc.body), chunked(tc.body)} {
			if _, known := body.(*strings.Reader); !known && tc.body == "" {
				continue // a chunked body is not known to be empty
			}
			resp, got := do(t, tc.method, "http://"+addr+tc.path, body, headers...)
			want := http.StatusOK
			if !tc.ok {
				want = http.StatusUnsupportedMediaType
			}
			if resp.StatusCode != want {
				t.Errorf("%s %s %q %q: %s %q, want %d", tc.method, tc.path, tc.body, tc.types, resp.Status, got, want)
			}
		}
	}
}

func TestSlowBodyTimesOut(t *testing.T) {
	addr := serve(t, Config{BodyTimeout: 50 * time.Millisecond}, readBody)
	for name, head := range map[string]string{
		"length":  "Content-Length: 10\r\n\r\n{",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
	} {
		r, _ := raw(t, addr, "POST / HTTP/1.1\r\nHost: "+addr+"\r\n"+head)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

// The time for the body is not the time for the answer: whatever the handler
// does with the body, a stream outlives it, and so does the connection.
func TestStreamsOutliveTheBodyTimeout(t *testing.T) {
	const bodyTimeout = 300 * time.Millisecond
	addr := serve(t, Config{BodyTimeout: bodyTimeout}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/all":
			if _, err := io.ReadAll(r.Body); err != nil {
				t.Error(err)
			}
		case "/value": // leaves the end of a chunked body unread
			var v struct{}
			if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
				t.Error(err)
			}
		case "/close":
			if err := r.Body.Close(); err != nil {
				t.Error(err)
			}
		case "/ignore":
		case "/hijack":
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			line, err := rw.ReadString('\n')
			fmt.Fprint(c, line, err)
			return
		}
		fmt.Fprintln(w, "begun")
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		select {
		case <-r.Context().Done():
			t.Errorf("%s: %v", r.URL.Path, r.Context().Err())
		case <-time.After(2 * bodyTimeout):
		}
		fmt.Fprint(w, "done")
	})
	for _, path := range []string{"/all", "/value", "/close", "/ignore"} {
		for i, body := range []io.Reader{strings.NewReader("{}"), chunked("{}")} {
			t.Run(fmt.Sprint(path[1:], i), func(t *testing.T) {
				t.Parallel()
				resp, got := do(t, "POST", "http://"+addr+path, body)
				if resp.StatusCode != 200 || got != "begun\ndone" {
					t.Errorf("%s %q", resp.Status, got)
				}
			})
		}
	}
	t.Run("hijack", func(t *testing.T) {
		t.Parallel()
		r, c := raw(t, addr, "POST /hijack HTTP/1.1\r\nHost: "+addr+"\r\nTransfer-Encoding: chunked\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(io.LimitReader(r, int64(len("HTTP/1.1 101 Switching Protocols\r\n\r\n")))), nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		time.AfterFunc(2*bodyTimeout, func() { fmt.Fprintln(c, "late") })
		if got, err := io.ReadAll(r); err != nil || string(got) != "late\n<nil>" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
