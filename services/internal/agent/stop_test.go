package agent

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// However a text is cut into pieces, it ends before its first stop sequence.
func TestStopperPieces(t *testing.T) {
	for text, want := range map[string]string{
		"one END two": "one ", "EN EN ENDE": "EN EN ", "no stop EN": "no stop EN", "\n\n": "", "a\n b\n\nc": "a\n b", "END": "", "": "",
	} {
		for range 300 {
			s := &stopper{sequences: []string{"END", "\n\n"}}
			var out strings.Builder
			hit := false
			for rest := text; rest != "" && !hit; {
				n := 1 + rand.IntN(min(len(rest), 4))
				var show string
				show, hit = s.next(rest[:n])
				out.WriteString(show)
				rest = rest[n:]
			}
			if !hit {
				out.WriteString(s.rest())
			}
			if out.String() != want {
				t.Fatalf("%q: got %q, want %q", text, out.String(), want)
			}
		}
	}
}

func TestRunStops(t *testing.T) {
	s := &tape{}
	out, err := Run(t.Context(), Options{Request: Request{Stop: []string{"Observation:"}}, History: []Message{{Role: RoleUser, Text: "hi"}},
		Provider: pieces{[]Delta{{Text: "Action: look\nObser"}, {Text: "vation: it is"}, {Text: " never shown"}}}}, s)
	if err != nil || out.Finish != FinishStop {
		t.Fatalf("%+v, %v", out, err)
	}
	if len(s.history) != 1 || s.history[0].Text != "Action: look\n" {
		t.Errorf("history %+v", s.history)
	}
}
