package terminal_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anthill/services/internal/terminal"
)

// TestShellIntegration runs shells on a user's own rc.
func TestShellIntegration(t *testing.T) {
	for _, name := range []string{"bash", "zsh", "fish"} {
		t.Run(name, func(t *testing.T) {
			path := tool(t, name)
			both(t, func(t *testing.T, h *home) {
				events := make(chan terminal.Event, 100)
				h.tell = func(e terminal.Event) { events <- e }
				for file, text := range map[string]string{".bashrc": "HISTCONTROL=ignoreboth\nmine() { echo from-rc; }\nPROMPT_COMMAND='true'\n",
					".zshrc": "mine() { echo from-rc }\n", ".config/fish/config.fish": "function mine; echo from-rc; end\n"} {
					if err := os.MkdirAll(filepath.Dir(filepath.Join(h.dir, file)), 0o700); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(h.dir, file), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				folder := filepath.Join(h.dir, "é b")
				if err := os.Mkdir(folder, 0o700); err != nil {
					t.Fatal(err)
				}
				e, _ := h.open()
				term := start(t, e, "t", terminal.Spec{Shell: path})
				block := func() terminal.Block {
					t.Helper()
					for limit := time.After(time.Minute); ; {
						select {
						case e := <-events:
							if e.Block != nil {
								return *e.Block
							}
						case <-limit:
							hist, _ := e.History(t.Context(), "t")
							c, _ := hist.Read(t.Context(), 0, 0)
							t.Fatalf("no block; it printed %q", c.Data)
						}
					}
				}
				write(t, term, "mine\n")
				if b := block(); b.Command != "mine" || b.ExitCode != 0 || b.Cwd != h.dir || b.Ended.Before(b.Started) {
					t.Errorf("block %+v", b)
				} else if got := output(t, e, b); !strings.Contains(got, "from-rc") {
					t.Errorf("output %q", got)
				}
				write(t, term, "cd \"é b\"\n")
				block()
				write(t, term, "sh -c 'exit 3' '; é%'\n")
				if b := block(); b.Command != "sh -c 'exit 3' '; é%'" || b.ExitCode != 3 || b.Cwd != folder {
					t.Errorf("block %+v", b)
				}
				write(t, term, "\n")
				write(t, term, "echo last\n")
				if b := block(); b.Command != "echo last" || b.ExitCode != 0 {
					t.Errorf("block %+v", b)
				}
				if term.Cwd() != folder {
					t.Errorf("cwd %q", term.Cwd())
				}
			})
		})
	}
}

func output(t *testing.T, e *terminal.Engine, b terminal.Block) string {
	t.Helper()
	hist, err := e.History(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	c, err := hist.Read(t.Context(), b.Start, int(b.End-b.Start))
	if err != nil {
		t.Fatal(err)
	}
	return terminal.Strip(c.Data)
}

func TestHistoryQueries(t *testing.T) {
	both(t, func(t *testing.T, h *home) {
		e, _ := h.open()
		term := start(t, e, "t", sh(`printf 'one \033[1mBold\033[0m word\n'; read x; printf '\033(0lqk\033(B two needle %s\n' "$x"; read x`))
		r := term.Reader(0)
		until(t, r, "word")
		hist, err := e.History(t.Context(), "t")
		if err != nil {
			t.Fatal(err)
		}
		all, err := hist.Pieces(t.Context(), terminal.Query{})
		if err != nil || len(all) != 1 || !strings.Contains(string(all[0].Data), "word") || all[0].First.IsZero() {
			t.Fatalf("pieces %v, %v", all, err)
		}
		between := time.Now().Add(time.Millisecond)
		for !time.Now().After(between.Add(200 * time.Millisecond)) { // times have a precision of 100 ms
			time.Sleep(10 * time.Millisecond)
		}
		write(t, term, "X\n")
		until(t, r, "needle X")
		hits, err := hist.Search(t.Context(), "NEEDLE", 10)
		if err != nil || len(hits) != 1 || !strings.Contains(hits[0].Line, "┌─┐ two needle X") || hits[0].Time.Before(between) {
			t.Errorf("hits %+v, %v", hits, err)
		}
		if hits, err := hist.Search(t.Context(), "bold word", 10); err != nil || len(hits) != 1 || hits[0].Offset != 0 {
			t.Errorf("hits %+v, %v", hits, err)
		}
		if hits, err := hist.Search(t.Context(), "[1m", 10); err != nil || len(hits) != 0 {
			t.Errorf("control sequences are found: %+v, %v", hits, err)
		}
		since, err := hist.Pieces(t.Context(), terminal.Query{Since: between})
		if err != nil || len(since) == 0 {
			t.Errorf("since: %v, %v", since, err)
		}
		none, err := hist.Pieces(t.Context(), terminal.Query{After: term.End()})
		if err != nil || len(none) != 0 {
			t.Errorf("behind the end: %v, %v", none, err)
		}
	})
}
