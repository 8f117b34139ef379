package chat

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"anthill/services/internal/agent"

	"github.com/tidwall/gjson"
)

// failure is what a provider said about a call that it refused or broke off.
// Its text is the provider's: for logs and for telling failures apart only.
type failure struct {
	status     int // HTTP status, 0 inside a stream if it named none
	code, kind string
	text       string
	retryAfter time.Duration
}

func (f *failure) Error() string {
	const most = 500
	return fmt.Sprintf("provider: status %d, code %q, type %q: %.*s", f.status, f.code, f.kind, most, f.text)
}

// all is everything said, in lower case, to search in.
func (f *failure) all() string { return strings.ToLower(f.code + " " + f.kind + " " + f.text) }

func readFailure(res *http.Response) *failure {
	f := &failure{}
	if body, err := io.ReadAll(res.Body); err != nil {
		f.text = err.Error()
	} else {
		f = parseFailure(body)
	}
	f.status = res.StatusCode
	f.retryAfter = retryAfter(res.Header, time.Now())
	return f
}

// parseFailure takes an error object in any of the shapes in use:
// {"error":{…}}, {"error":"…"}, {"message":…}, {"detail":…}, or plain text.
func parseFailure(body []byte) *failure {
	if !gjson.ValidBytes(body) {
		return &failure{text: string(body)}
	}
	obj := gjson.ParseBytes(body)
	if e := obj.Get("error"); e.Type != gjson.Null {
		obj = e
	}
	f := &failure{
		code: obj.Get("code").String(), kind: obj.Get("type").String(),
		text: cmp.Or(obj.Get("message").String(), obj.Get("detail").String(), obj.String()),
	}
	// A number for a code is an HTTP status.
	for _, s := range []string{f.code, obj.Get("status").String()} {
		if n, err := strconv.Atoi(s); err == nil && n >= 400 && n < 600 {
			f.status = n
		}
	}
	return f
}

func (f *failure) classify() agent.Error {
	text := f.all()
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	e := agent.Error{Status: f.status, RetryAfter: f.retryAfter}
	switch s := f.status; {
	case s == 402 || has("insufficient_quota", "exceeded your current quota", "billing", "credit balance", "insufficient credit", "insufficient balance"):
		e.Code = agent.CodeTokenLimit
	case s == 413 || has("context_length_exceeded", "context length", "context window", "context size", "prompt is too long", "input is too long"):
		e.Code = agent.CodeContext
	case s == 401 || has("invalid_api_key", "incorrect api key", "authentication_error"):
		e.Code = agent.CodeAuth
	case s == 403 || has("permission_denied", "permission_error"):
		e.Code = agent.CodeModelAccess
	case has("model_not_found", "unknown model", "invalid model"),
		s == 404 && has("model"),
		s == 400 && has("model") && has("not found", "does not exist", "not exist", "not a valid"):
		e.Code = agent.CodeUnknownModel
	case s == 404 || s == 405 || s >= 300 && s < 400:
		e.Code = agent.CodeUnreachable
		e.Message = "Nothing at the model provider's address answers chat completions. Check its base URL in the settings."
	case s == 408:
		e.Code = agent.CodeTimeout
	case s == 429 || has("rate_limit", "too many requests"):
		e.Code = agent.CodeRateLimited
	case s == 503 || s == 529 || has("overloaded", "over capacity"):
		e.Code = agent.CodeOverloaded
	case s >= 500 || s == 0 && has("server_error", "internal"):
		e.Code = agent.CodeUnreachable
	}
	return e
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
