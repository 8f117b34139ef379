package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckJSON(t *testing.T) {
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tc := range []struct {
		name, body string
		offset     int // of the error, or -1
	}{
		{"empty", "", -1},
		{"object", `{"a":[1,2,{"b":null}]}`, -1},
		{"no JSON at all", `hello ]]} \`, -1},
		{"as deep as allowed", nested(64), -1},
		{"too deep", nested(65), 64},
		{"100k deep", strings.Repeat("[", 100_000), 64},
		{"deep objects", strings.Repeat(`{"a":`, 65), 64 * 5},
		{"wide", "[" + strings.Repeat("[],", 1000) + "1]", -1},
		{"brackets in a string", `"` + strings.Repeat("[{", 100) + `"`, -1},
		{"after an escaped quote", `"\"` + strings.Repeat("[", 100) + `"`, -1},
		{"after an escaped backslash", `"\\"` + strings.Repeat("[", 100), 4 + 64},
		{"closing more than opened", "]]]]" + strings.Repeat("[", 65), 4 + 64},
		{"unterminated string", `"abc\`, -1},
		{"unicode", `{"ключ":"значение 🐜"}`, -1},
		{"bad UTF-8 in a string", "\"ab\xff\"", 3},
		{"bad UTF-8 outside", "[1,\xc3]", 3},
		{"cut in a rune", "\"\xf0\x9f\x90", 1},
		{"encoded surrogate", "\"\xed\xa0\x80\"", 1},
		{"overlong", "\"\xc0\x80\"", 1},
		{"U+FFFD itself", "\"\uFFFD\"", -1},
		{"NUL", "[1]\x00", 3},
		{"NUL in a string", "\"a\x00\"", 2},
		{"escaped NUL", `"\u0000"`, 1},
		{"surrogate pair", `"\ud83d\udc1c"`, -1},
		{"upper case pair", `"\uD83D\uDC1C"`, -1},
		{"lone high", `"\ud83d"`, 1},
		{"lone high, text", `"ab\ud83dcd\udc1c"`, 3},
		{"lone low", `"\udc1c"`, 1},
		{"wrong order", `"\udc1c\ud83d"`, 1},
		{"escaped backslash, not a surrogate", `"\\ud83d"`, -1},
		{"outside a string", `\ud83d`, -1},
		{"bad escape", `"\uZZZZ\q"`, -1},
		{"short escape", `"\ud8"`, -1},
	} {
		err := CheckJSON([]byte(tc.body))
		var je *JSONError
		switch {
		case tc.offset < 0 && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.offset >= 0 && (!errors.As(err, &je) || je.Offset != tc.offset):
			t.Errorf("%s: %v, want an error at %d", tc.name, err, tc.offset)
		}
	}
}

func TestCheckJSONAllocatesNothing(t *testing.T) {
	body := sampleJSON()
	if n := testing.AllocsPerRun(10, func() {
		if err := CheckJSON(body); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func sampleJSON() []byte {
	return []byte(`{"input":[` + strings.Repeat(`{"role":"user","content":"Привет, world: [1] \"quoted\" \u00e9 \ud83d\udc1c"},`, 1000) + `{}]}`)
}

// depthOf is the slow way: it takes the strings out first, then counts.
func depthOf(body string) int {
	var outside strings.Builder
	for i := 0; i < len(body); i++ {
		if body[i] != '"' {
			outside.WriteByte(body[i])
			continue
		}
		for i++; i < len(body) && body[i] != '"'; i++ {
			if body[i] == '\\' {
				i++
			}
		}
	}
	depth, deepest := 0, 0
	for _, c := range outside.String() {
		switch c {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return deepest
}

// tokenDepth asks the standard decoder, for bodies that are JSON.
func tokenDepth(t *testing.T, body []byte) int {
	depth, deepest := 0, 0
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return deepest
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok {
		case json.Delim('['), json.Delim('{'):
			depth++
			deepest = max(deepest, depth)
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
	}
}

func FuzzCheckJSON(f *testing.F) {
	f.Add([]byte(`{"a":["\"[","\\",{"b":"\ud83d\udc1c"}]}`), uint8(0))
	f.Add([]byte(`"\ud83d"`), uint8(1))
	f.Add([]byte("[1]\x00\xff"), uint8(63))
	f.Add([]byte(`]]{"\`), uint8(64))
	f.Add([]byte(`""`), uint8(65))
	f.Fuzz(func(t *testing.T, core []byte, wrap uint8) {
		n := int(wrap) % 70 // near the limit, which random brackets never reach
		body := bytes.Join([][]byte{bytes.Repeat([]byte("["), n), core, bytes.Repeat([]byte("]"), n)}, nil)
		err := CheckJSON(body)
		var je *JSONError
		if err != nil && (!errors.As(err, &je) || je.Offset < 0 || je.Offset >= len(body)) {
			t.Fatalf("unexpected error %#v", err)
		}
		deep := depthOf(string(body)) > MaxDepth
		valid := utf8.Valid(body) && !bytes.Contains(body, []byte{0})
		if json.Valid(body) && tokenDepth(t, body) > MaxDepth != deep {
			t.Fatal("the references disagree")
		}
		if err == nil {
			if deep || !valid {
				t.Fatalf("accepted: deep %t, valid %t", deep, valid)
			}
			// What passes loses nothing in a standard decoder.
			var v any
			if json.Unmarshal(body, &v) == nil && !bytes.Contains(body, []byte("\uFFFD")) && !bytes.Contains(bytes.ToLower(body), []byte("fffd")) {
				if out, err := json.Marshal(v); err == nil && bytes.Contains(out, []byte("\uFFFD")) {
					t.Fatalf("%q lost text: %q", body, out)
				}
			}
			return
		}
		if !deep && valid && !strings.Contains(je.Msg, "surrogate") {
			t.Fatalf("refused without a reason: %v", err)
		}
	})
}

func BenchmarkCheckJSON(b *testing.B) {
	body := sampleJSON()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckJSON(body); err != nil {
			b.Fatal(err)
		}
	}
}
