package rest

import (
	"bytes"
	"encoding/json"
	"testing"
)

func FuzzDropBlanks(f *testing.F) {
	for _, s := range []string{`{"a": 1, "b": "x \" y", "c": ["\\", " ", {}]}`, `"\\\" "`, `[ ]`, `"  "`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var want bytes.Buffer
		if !json.Valid(in) || bytes.ContainsAny(in, "\t\r\n") || json.Compact(&want, in) != nil {
			return
		}
		if got := DropBlanks(bytes.Clone(in)); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%q became %q, want %q", in, got, want.Bytes())
		}
	})
}
