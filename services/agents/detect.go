package agents

import (
	"path"
	"slices"
	"strings"
	"time"

	"anthill/services/internal/store"
	"anthill/services/internal/store/key"
	"anthill/services/internal/terminal/driver"
	"anthill/services/internal/terminal/screen"
)

const (
	detectSoon = 500 * time.Millisecond // between two looks for an agent, at first
	detectMost = 4 * time.Second        // and at most, while none is found
	detectKnow = 2 * time.Second        // while one is known
)

// detection is how the program in a terminal was looked for.
type detection struct {
	next    time.Time
	wait    time.Duration
	command string
	version uint64 // of the screen that was looked at
	session *Session
}

// noted is a flag that was set because an agent was seen, not because somebody
// chose it: it follows what runs.
type noted struct {
	Terminal string `json:"terminal"`
	Flag     string `json:"flag"`
}

var notes = store.NewTable(store.TableOptions[noted]{
	Name: "ant_agent_seen",
	Key:  func(n *noted) key.Key { return key.Of(n.Terminal) },
})

// detect finds out which agent runs, now and then. It returns when to look again.
// The caller holds looking.
func (a *agent) detect(snap screen.Snapshot, now time.Time) time.Duration {
	f := &a.found
	if wait := f.next.Sub(now); wait > 0 {
		if a.tracked == nil && snap.Version != f.version {
			return wait
		}
		return lookIdle
	}
	d, err := a.find(snap)
	switch {
	case err != nil:
		if a.room.base.Err() == nil {
			a.room.opt.Log.Error("which agent runs is not known", "terminal", a.id, "error", err)
		}
		f.next = now.Add(lookRetry)
		return lookRetry
	case d != nil:
		f.wait = detectKnow
	default:
		f.wait = min(max(2*f.wait, detectSoon), detectMost)
	}
	f.next = now.Add(f.wait)
	if d != a.tracked {
		a.retrack(d)
	}
	return lookIdle
}

// find is the driver for what runs; nil: none is known.
func (a *agent) find(snap screen.Snapshot) (*driver.Driver, error) {
	var s *Session
	var n *noted
	err := a.room.opt.DB.View(a.room.base, func(rd store.Reader) (err error) {
		if s, err = a.room.opt.Sessions.Find(rd, a.id); err != nil {
			return err
		}
		n, err = notes.Get(rd, key.Of(a.id))
		return err
	})
	if err != nil || s == nil {
		return nil, err
	}
	f := &a.found
	command := a.command()
	if command != f.command {
		f.command, f.version, f.wait = command, 0, 0
	}
	f.session = s
	set := a.room.drivers.Load()
	if s.CLIFlag != "" && (n == nil || n.Flag != s.CLIFlag) {
		f.version = snap.Version
		return set.Get(s.CLIFlag), nil
	}
	d := set.ByCommand(command)
	if d == nil && !a.atPrompt() { // else its picture is all that is left of an agent
		if s.CLIFlag != "" {
			d = set.Get(s.CLIFlag)
		} else if f.version != snap.Version {
			d = set.Detect(snap, driver.Hint{})
		}
	}
	f.version = snap.Version
	if d == nil || s.CLIFlag != "" {
		return d, nil
	}
	return d, a.room.opt.DB.Update(a.room.base, func(tx store.Tx) error {
		if err := a.room.opt.Sessions.SetCLIFlag(tx, a.id, d.Name); err != nil {
			return err
		}
		return notes.Put(tx, &noted{Terminal: a.id, Flag: d.Name})
	})
}

// runners are programs that run a script, which is what people call the program.
var runners = []string{"node", "nodejs", "bun", "deno", "python", "python3", "env"}

// command is the program in the foreground, as far as it is known.
func (a *agent) command() string {
	if c := a.terminal.Command(); c != "" {
		return c
	}
	argv := foreground(a.terminal.Pid())
	for len(argv) > 1 && slices.Contains(runners, path.Base(argv[0])) && !strings.HasPrefix(argv[1], "-") {
		argv = argv[1:]
	}
	if len(argv) == 0 {
		return ""
	}
	name := path.Base(argv[0])
	for _, end := range []string{".js", ".mjs", ".cjs", ".py"} {
		name = strings.TrimSuffix(name, end)
	}
	return name
}
