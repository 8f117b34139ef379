package kernel

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// However bytes are cut into pieces, a text is valid, bounded, and whole if it fits.
func FuzzText(f *testing.F) {
	f.Add([]byte("häßlich 😀"), 3, 40)
	f.Add([]byte("\xff\xfe\xf0\x9f"), 1, 8)
	f.Add(bytes.Repeat([]byte("€"), 100), 2, 50)
	f.Fuzz(func(t *testing.T, data []byte, step, most int) {
		step, most = max(step%64, 1), max(most%4096, 8)
		var live strings.Builder
		x := newText(most)
		for rest := data; len(rest) > 0; {
			n := min(step, len(rest))
			live.WriteString(x.add(rest[:n]))
			rest = rest[n:]
		}
		live.WriteString(x.end())
		got := x.String()
		if !utf8.ValidString(got) || !utf8.ValidString(live.String()) {
			t.Fatalf("not UTF-8: %q %q", got, live.String())
		}
		if len(got) > most+60 {
			t.Fatalf("%d bytes of %d", len(got), most)
		}
		if utf8.Valid(data) && len(data) <= most && got != string(data) {
			t.Fatalf("%q became %q", data, got)
		}
		if utf8.Valid(data) && len(data) <= most/2 && live.String() != string(data) {
			t.Fatalf("%q showed as %q", data, live.String())
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x0d{\"ev\":\"done\"}"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x00\x00\x00\x02{}\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for {
			if _, err := readFrame(r); err != nil {
				return
			}
		}
	})
}
