package key

import (
	"bytes"
	"math"
	"slices"
	"testing"
)

func TestOrder(t *testing.T) {
	// Every key sorts after the one before it.
	ordered := []Key{
		nil,
		Key(nil).Str(""),
		Key(nil).Str("").Str(""),
		Key(nil).Str("").Uint(0),
		Key(nil).Str("\x00"),
		Key(nil).Str("\x00\x00"),
		Key(nil).Str("\x00\x01"),
		Key(nil).Str("\x01"),
		Key(nil).Str("\x01\xff"),
		Key(nil).Str("\x02"),
		Key(nil).Str("a"),
		Key(nil).Str("a").Str("z"),
		Key(nil).Str("a\x00"),
		Key(nil).Str("ab"),
		Key(nil).Str("b"),
		Key(nil).Str("\xff"),
		Key(nil).Str("\xff\xff"),
		Key(nil).Int(math.MinInt64),
		Key(nil).Int(math.MinInt64 + 1),
		Key(nil).Int(-256),
		Key(nil).Int(-255),
		Key(nil).Int(-1),
		Key(nil).Int(0),
		Key(nil).Int(1),
		Key(nil).Int(255),
		Key(nil).Int(256),
		Key(nil).Int(math.MaxInt64),
		Key(nil).Uint(0),
		Key(nil).Uint(0).Str(""),
		Key(nil).Uint(1),
		Key(nil).Uint(255),
		Key(nil).Uint(256),
		Key(nil).Uint(math.MaxUint64),
	}
	for i, k := range ordered[1:] {
		if bytes.Compare(ordered[i], k) >= 0 {
			t.Errorf("%x should sort before %x", ordered[i], k)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	k := Of("messages").Str("a\x00b\x01c").Uint(1 << 40).Int(-7).Int(math.MinInt64).Int(math.MaxInt64).Uint(0)
	r := Parse(k)
	if got := r.Str(); got != "messages" {
		t.Errorf("table = %q", got)
	}
	if got := r.Str(); got != "a\x00b\x01c" {
		t.Errorf("string = %q", got)
	}
	if got := r.Uint(); got != 1<<40 {
		t.Errorf("uint = %d", got)
	}
	for _, want := range []int64{-7, math.MinInt64, math.MaxInt64} {
		if got := r.Int(); got != want {
			t.Errorf("int = %d, want %d", got, want)
		}
	}
	if r.Done() {
		t.Error("Done before the last element")
	}
	if got := r.Uint(); got != 0 {
		t.Errorf("last = %d", got)
	}
	if !r.Done() || r.Err() != nil {
		t.Errorf("Done = %v, Err = %v", r.Done(), r.Err())
	}
}

func TestReaderRefuses(t *testing.T) {
	read := map[string]func(*Reader){
		"str":  func(r *Reader) { r.Str() },
		"uint": func(r *Reader) { r.Uint() },
		"int":  func(r *Reader) { r.Int() },
	}
	for name, tc := range map[string]struct {
		as string
		in []byte
	}{
		"nothing left":           {"str", nil},
		"other type":             {"str", Key(nil).Uint(1)},
		"string without end":     {"str", []byte{tagStr, 'a'}},
		"escape without a byte":  {"str", []byte{tagStr, escape, terminator}},
		"unknown escape":         {"str", []byte{tagStr, escape, 0x03, terminator}},
		"number cut off":         {"uint", []byte{tagUint + 2, 1}},
		"leading zero":           {"uint", []byte{tagUint + 2, 0, 1}},
		"signed as unsigned":     {"uint", Key(nil).Int(-1)},
		"too large for int64":    {"int", append([]byte{tagInt + 8, 0x80}, make([]byte, 7)...)},
		"too small for int64":    {"int", append([]byte{tagInt - 8, 0x7f}, bytes.Repeat([]byte{0xfe}, 7)...)},
		"leading zero, negative": {"int", []byte{tagInt - 2, 0xff, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			r := Parse(tc.in)
			read[tc.as](r)
			if r.Err() == nil || r.Done() {
				t.Errorf("%x was read as a %s", tc.in, tc.as)
			}
			if r.Str() != "" || r.Uint() != 0 || r.Int() != 0 {
				t.Error("a failed Reader returned a value")
			}
		})
	}
}

func TestKeysDoNotShareMemory(t *testing.T) {
	// Give the prefix spare capacity, which two careless appends would share.
	prefix := append(make(Key, 0, 64), Of("t")...)
	a, b, c := prefix.Str("aaaa"), prefix.Uint(77777), prefix.Join(Key(nil).Int(-5))
	for _, tc := range []struct{ got, want Key }{
		{a, Of("t").Str("aaaa")}, {b, Of("t").Uint(77777)}, {c, Of("t").Int(-5)}, {prefix, Of("t")},
	} {
		if !slices.Equal(tc.got, tc.want) {
			t.Errorf("got %x, want %x", tc.got, tc.want)
		}
	}
}
