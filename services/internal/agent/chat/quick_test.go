package chat

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// slow says by the standard library what a chunk of one choice carries.
func slow(data []byte) (p piece, ok bool) {
	var top struct{ Choices []map[string]any }
	var raw map[string]json.RawMessage
	if json.Unmarshal(data, &raw) != nil || json.Unmarshal(raw["choices"], &top.Choices) != nil || len(top.Choices) != 1 {
		return piece{}, false
	}
	delta, isObject := top.Choices[0]["delta"].(map[string]any)
	if !isObject {
		return piece{}, true
	}
	p.text, _ = delta["content"].(string)
	for _, k := range []string{"reasoning_content", "reasoning"} {
		if s, isString := delta[k].(string); isString && s != "" {
			p.reasoning = s
		}
	}
	return p, true
}

// Whatever quick accepts, alone or after it has learned from another chunk,
// must be what a full parser reads.
func FuzzQuick(f *testing.F) {
	chunk := func(s string) []byte { return []byte(s) }
	whole := `{"id":"a","created":17,"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}],"usage":null,"obf":"q"}`
	for _, other := range []string{
		whole,
		`{"id":"b","created":18,"choices":[{"index":0,"delta":{"content":"y\n"},"finish_reason":null}],"usage":null,"obf":"\""}`,
		`{"id":"b","created":1.5,"choices":[{"index":0,"delta":{"content":"y"},"finish_reason":null}],"usage":null,"obf":""}`,
		`{"id":"b","created":01,"choices":[{"index":0,"delta":{"content":"y"},"finish_reason":"stop"}],"usage":null,"obf":"}`,
		`{"choices":[{"delta":{"content":"a","content":"b","reasoning":"c"}}]}`,
		`{"choices":[{"delta":{"reasoning":"c","content":null}}],"error":{}}`,
		`{"choices":""}`,
		`{"choices":[{"delta":{"content":"\ud83d\ude00 \ud800"}},{}]}`,
	} {
		f.Add(chunk(whole), chunk(other))
		f.Add(chunk(other), chunk(whole))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var q quick
		for _, data := range [][]byte{first, second} {
			got, ok := q.read(data)
			if !ok {
				continue
			}
			want, valid := slow(data)
			if !valid || got.text != want.text || (got.reasoning == "") != (want.reasoning == "") {
				t.Fatalf("%q: got %q, want %q (valid %v)", data, got, want, valid)
			}
			if !utf8.ValidString(got.text) || !utf8.ValidString(got.reasoning) {
				t.Fatalf("%q: invalid UTF-8 in %q", data, got)
			}
		}
	})
}
