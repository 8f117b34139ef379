package wire

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
)

// Failure is what a provider said about a call that it refused or broke off.
// Its texts are the provider's: for logs and for telling failures apart only.
type Failure struct {
	Status     int    // HTTP status, 0 inside a stream if it named none
	Code, Kind string // as the provider calls it
	Param      string // of the request that is at fault
	Text       string
	RetryAfter time.Duration

	more string // reasons in the details
}

func (f *Failure) Error() string {
	const most = 500
	return fmt.Sprintf("provider: status %d, code %q, type %q: %.*s", f.Status, f.Code, f.Kind, most, f.Text)
}

// Says reports whether any of the phrases, in lower case, is in what was said.
func (f *Failure) Says(phrases ...string) bool {
	said := strings.ToLower(strings.Join([]string{f.Code, f.Kind, f.Param, f.Text, f.more}, " "))
	for _, p := range phrases {
		if strings.Contains(said, p) {
			return true
		}
	}
	return false
}

func readFailure(res *http.Response) *Failure {
	defer res.Body.Close()
	f := &Failure{}
	if body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody)); err != nil {
		f.Text = err.Error()
	} else {
		f = ParseFailure(body)
	}
	f.Status = res.StatusCode
	f.RetryAfter = max(f.RetryAfter, retryAfter(res.Header, time.Now()))
	return f
}

// ParseFailure takes an error object in any of the shapes in use:
// {"error":{…}}, {"error":"…"}, {"message":…}, {"detail":…}, one of those in a
// list, {"response":{"error":{…}}}, or plain text.
func ParseFailure(body []byte) *Failure {
	// Not gjson's own check: that one has no limit to how deep it goes.
	if !json.Valid(body) {
		return &Failure{Text: string(body[:min(len(body), maxErrorBody)])}
	}
	obj := gjson.ParseBytes(body)
	if obj.IsArray() {
		obj = obj.Get("0")
	}
	for _, path := range []string{"response.error", "error"} {
		if e := obj.Get(path); e.Exists() && e.Type != gjson.Null {
			obj = e
			break
		}
	}
	f := &Failure{
		Code: obj.Get("code").String(), Param: obj.Get("param").String(),
		Kind: strings.TrimSpace(obj.Get("type").String() + " " + obj.Get("status").String()),
		Text: cmp.Or(obj.Get("message").String(), obj.Get("detail").String(), obj.String()),
	}
	obj.Get("details").ForEach(func(_, d gjson.Result) bool {
		f.more += " " + d.Get("reason").String() + d.Get("violations.#.quotaId").Raw
		if wait, err := time.ParseDuration(d.Get("retryDelay").String()); err == nil && wait > 0 {
			f.RetryAfter = wait
		}
		return true
	})
	f.more += obj.Get("metadata.raw").String() // what the provider behind a gateway said
	// A number for a code is an HTTP status.
	for _, s := range []string{f.Code, obj.Get("status").String(), obj.Get("status_code").String()} {
		if n, err := strconv.Atoi(s); err == nil && n >= 400 && n < 600 {
			f.Status = n
		}
	}
	return f
}

// retryAfter reads how long to wait, in the forms that providers use.
func retryAfter(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 && ms < 1e9 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 && s < 1e6 {
		return time.Duration(s * float64(time.Second))
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
