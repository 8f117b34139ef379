package evidence

import (
	"anthill/services/internal/since"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzSince(f *testing.F) {
	for _, s := range []string{"5m", "1h", "1d", "30s", "0s", "999999999999d", "1800000000000", "0", "9999999999999999", "2026-01-31T12:00:00Z",
		"2026-01-31T12:00:00.5+02:00", "2026-01-31 12:00:00", "2026-01-31", "0000-01-01", "9999-12-31T23:59:59-12:00", "5", "-5m", "5 m", "५m", "", "1e3", "٣"} {
		f.Add(s)
	}
	now := time.UnixMilli(1_800_000_000_000)
	f.Fuzz(func(t *testing.T, s string) {
		ms, ok := since.Parse(s, now)
		switch {
		case !ok:
		case ms < 0:
			t.Errorf("%q is %d", s, ms)
		case strings.HasSuffix(s, "m") || strings.HasSuffix(s, "h") || strings.HasSuffix(s, "d") || strings.HasSuffix(s, "s"):
			if ms > now.UnixMilli() {
				t.Errorf("the span %q ends in the future: %d", s, ms)
			}
		}
		if !ok || ms > 1e15 {
			return
		}
		// It says the same in its other forms.
		if again, ok := since.Parse(fmt.Sprint(ms), now); !ok || again != ms {
			t.Errorf("%q is %d, which is %d", s, ms, again)
		}
		if at := time.UnixMilli(ms).UTC(); at.Year() < 10_000 {
			if again, ok := since.Parse(at.Format("2006-01-02T15:04:05.000Z"), now); !ok || again != ms {
				t.Errorf("%q is %d, as a time %d %v", s, ms, again, ok)
			}
		}
	})
}

func TestSince(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_000)
	for s, want := range map[string]int64{"30s": 1_799_999_970_000, "5m": 1_799_999_700_000, "1h": 1_799_996_400_000, "1d": 1_799_913_600_000,
		"99999d": 0, "1700000000000": 1_700_000_000_000, "2026-01-31T12:00:00Z": 1_769_860_800_000, "2026-01-31 12:00:00": 1_769_860_800_000,
		"2026-01-31T12:00:00.25+01:00": 1_769_857_200_250, "2026-01-31": 1_769_817_600_000, "1960-01-01": 0} {
		if got, ok := since.Parse(s, now); !ok || got != want {
			t.Errorf("%q is %d %v, want %d", s, got, ok, want)
		}
	}
}

func FuzzCutPayload(f *testing.F) {
	long := strings.Repeat("ü\\n", 3000)
	for _, s := range []string{`{}`, `{"a":1}`, `{"a":"` + long + `","b":1e400,"_cut":{"x":1}}`, `{"` + long + `":1,"b":[[],{}]}`, `{"a":1,"a":"` + long + `"}`,
		`{"\u0000\u0001":"` + long + `","\ud800":"` + long + `"}`} {
		f.Add([]byte(s), 1000)
	}
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		b, err := compact(in, "{")
		if err != nil || b == nil {
			return
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(err)
		}
		var parts [][]byte
		each(b, func(name string, member, value []byte) bool {
			if v := all[name]; v == nil || !json.Valid(value) {
				t.Errorf("%q has no member %q", b, name)
			}
			parts = append(parts, member)
			return true
		})
		if again := fmt.Sprintf("{%s}", bytes.Join(parts, []byte(","))); again != string(b) {
			t.Errorf("%q is split into %q", b, again)
		}
		n = cutRoom + max(0, n)%10_000
		out := cutPayload(b, n)
		if len(b) <= n {
			if !bytes.Equal(out, b) {
				t.Errorf("%q became %q", b, out)
			}
			return
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(out, &got); err != nil || len(out) > n {
			t.Fatalf("%d bytes of at most %d, %v: %q", len(out), n, err, out)
		}
		var mark cutMark
		sum := sha256.Sum256(b)
		if err := json.Unmarshal(got["_cut"], &mark); err != nil || mark.Bytes != len(b) || mark.SHA256 != hex.EncodeToString(sum[:]) {
			t.Errorf("marked %s, %v", got["_cut"], err)
		}
		if _, err := compact(out, "{"); err != nil {
			t.Errorf("cut to %q", out)
		}
		for name, v := range got { // what is left is as it was
			if name != "_cut" && !bytes.Contains(b, v) {
				t.Errorf("%q is %s now", name, v)
			}
		}
	})
}

func FuzzCutText(f *testing.F) {
	f.Add("häß☃\xffx", 3)
	f.Add("", 0)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = max(0, n) % 100
		out := cutText(s, n)
		if !utf8.ValidString(out) || utf8.RuneCountInString(out) > n || !strings.HasPrefix(strings.ToValidUTF8(s, "\uFFFD"), out) {
			t.Errorf("%q of %d is %q", s, n, out)
		}
		if whole := strings.ToValidUTF8(s, "\uFFFD"); utf8.RuneCountInString(whole) <= n && out != whole {
			t.Errorf("%q was cut to %q", s, out)
		}
	})
}
