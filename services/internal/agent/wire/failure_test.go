package wire

import (
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "3", 3 * time.Second},
		{"Retry-After", "Sun, 22 Nov 2026 10:00:30 GMT", 30 * time.Second},
		{"Retry-After", "Sun, 22 Nov 2026 09:00:30 GMT", 0},
		{"Retry-After", "-3", 0},
		{"Retry-After", "NaN", 0},
		{"Retry-After", "1e300", 0},
		{"Retry-After-Ms", "250", 250 * time.Millisecond},
	} {
		if got := retryAfter(http.Header{c.name: {c.value}}, now); got != c.want {
			t.Errorf("%s %q: %v", c.name, c.value, got)
		}
	}
}

func TestParseFailure(t *testing.T) {
	for body, want := range map[string]Failure{
		`{"error":{"message":"m","type":"t","param":"p","code":"c"}}`:        {Code: "c", Kind: "t", Param: "p", Text: "m"},
		`{"type":"error","error":{"type":"overloaded_error","message":"m"}}`: {Kind: "overloaded_error", Text: "m"},
		`{"type":"error","code":"c","message":"m","error":null}`:             {Code: "c", Kind: "error", Text: "m"},
		`{"error":"m"}`:   {Text: "m"},
		`{"message":"m"}`: {Text: "m"},
		`{"detail":"m"}`:  {Text: "m"},
		`{"object":"error","message":"m","code":404}`:                                      {Status: 404, Code: "404", Text: "m"},
		`{"error":{"code":5,"message":"m"}}`:                                               {Code: "5", Text: "m"},
		`[{"error":{"code":429,"message":"m","status":"S"}}]`:                              {Status: 429, Code: "429", Kind: "S", Text: "m"},
		`{"response":{"error":{"code":"c","message":"m"}}}`:                                {Code: "c", Text: "m"},
		`{"error":{"details":[{"retryDelay":"1.5s"},{"retryDelay":"-3s"}],"message":"m"}}`: {Text: "m", RetryAfter: 1500 * time.Millisecond, more: "  "},
		`nonsense`: {Text: "nonsense"},
		``:         {},
		`null`:     {},
		`"m"`:      {Text: "m"},
	} {
		if got := ParseFailure([]byte(body)); *got != want {
			t.Errorf("%s:\n got %#v\nwant %#v", body, *got, want)
		}
	}
}
