package wire

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestVerbatim(t *testing.T) {
	var v Verbatim
	if got := v.Fill([]byte(`{"a":1}`)); string(got) != `{"a":1}` {
		t.Errorf("nothing to fill: %s", got)
	}
	marks := []string{"text", v.Mark(json.RawMessage(`{ "z":1 }`)), v.Base64(`da"ta:`, []byte{0, 255}), v.Mark(json.RawMessage(`[]`))}
	body, err := json.Marshal(append(marks, marks[1], `"`+v.mark+"99", v.mark+"99"))
	if err != nil {
		t.Fatal(err)
	}
	want := `["text",{ "z":1 },"da\"ta:AP8=",[],{ "z":1 },"\"` + v.mark + `99","` + v.mark + `99"]`
	if got := v.Fill(body); string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestCallID(t *testing.T) {
	long := strings.Repeat("a", 65)
	for id, plain := range map[string]bool{"call_1-A": true, "": true, long[:64]: true, long: false, "a b": false, "ü": false, "a\n": false} {
		got := CallID(id)
		if (got == id) != plain || len(got) > 64 || CallID(id) != got || CallID(got) != got {
			t.Errorf("%q became %q", id, got)
		}
	}
	if CallID("a b") == CallID("a c") {
		t.Error("two ids became one")
	}
}
