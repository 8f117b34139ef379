package agent

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
)

// However a text with secrets is cut into pieces, it comes out the same, and
// without them.
func TestRedactorPieces(t *testing.T) {
	secrets := []string{"sk-CANARY-0123456789", "sk-CANARY-99", "short"}
	text := "s sk sk-CANARY sk-CANARY-0123456789sk-CANARY-0123456789 sk-CANARY-012345678 short ssk-CANARY-99 é sk-CANARY-0123456789"
	want := strings.NewReplacer(secrets[0], redacted, secrets[1], redacted).Replace(text)
	for range 2000 {
		r := newRedactor(secrets)
		var out strings.Builder
		for rest := text; rest != ""; {
			n := 1 + rand.IntN(min(len(rest), 7))
			out.WriteString(r.next(rest[:n]))
			rest = rest[n:]
		}
		out.WriteString(r.rest())
		if out.String() != want {
			t.Fatalf("got %q, want %q", out.String(), want)
		}
	}
}

type pieces struct{ deltas []Delta }

func (e pieces) Stream(_ context.Context, _ Request, emit func(Delta) error) (Completion, error) {
	var text strings.Builder
	for _, d := range e.deltas {
		text.WriteString(d.Text)
		if err := emit(d); err != nil {
			return Completion{}, err
		}
	}
	return Completion{Text: text.String(), Finish: FinishStop}, nil
}

func TestRunRedactsSecrets(t *testing.T) {
	const key = "sk-CANARY-0123456789"
	s := &tape{}
	_, err := Run(t.Context(), Options{Secrets: []string{key}, History: []Message{{Role: RoleUser, Text: "hi"}},
		Provider: pieces{[]Delta{{Reasoning: "think " + key[:5]}, {Reasoning: key[5:]}, {Text: "your key is " + key[:9]}, {Text: key[9:] + ", sk"}}}}, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.history) != 1 || s.history[0].Text != "your key is [redacted], sk" {
		t.Errorf("history %+v", s.history)
	}
	for _, line := range s.lines {
		if strings.Contains(line, "CANARY") {
			t.Errorf("the sink got %q", line)
		}
	}
}
