package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Host runs the programs of terminals. It knows nothing of history.
// All methods are safe for concurrent use.
type Host interface {
	// Name is "tmux" or "pty".
	Name() string
	// Persistent says whether terminals outlive this process.
	Persistent() bool
	// Start runs a program in a new terminal and records all that it prints from
	// the first byte on. The id must not be in use.
	Start(ctx context.Context, id string, p Program, rec Recording) (Process, error)
	// Attach takes up a terminal of a former process of ours again; ErrGone: it
	// is not there.
	Attach(ctx context.Context, id string, rec Recording) (Process, error)
	// List returns the ids of the terminals that the host has, the ended ones
	// that were not released too.
	List(ctx context.Context) ([]string, error)
	// Close lets go: persistent terminals live on, others end.
	Close(ctx context.Context) error
}

// Process is the program in one terminal. Calls after its end return ErrGone.
type Process interface {
	Pid() int
	// Leader leads the session of the program: the program itself, or who launched it and
	// ends behind it. All orphans of the terminal are its children then.
	Leader() int
	// Write hands input to the terminal, whole and byte for byte. The caller
	// sees to it that there is one writer at a time.
	Write(ctx context.Context, p []byte) error
	Resize(ctx context.Context, cols, rows int) error
	// Screen is what the terminal shows, with colours, as lines ended by CR LF; nil when
	// the host does not know.
	Screen(ctx context.Context) ([]byte, error)
	// Done is closed when the program has ended and all that it printed was handed to
	// the recording.
	Done() <-chan struct{}
	// Exit says how it ended; only after Done.
	Exit() Exit
	// Release frees what the host keeps of an ended terminal.
	Release(ctx context.Context) error
}

// Recording is where the bytes of a terminal go.
type Recording struct {
	Dir  string       // folder of its segments, which exists
	Sink func([]byte) // takes bytes instead, when the host is the one to read them; it does not keep them
	News *os.File     // launcher.News of Dir, for a host that records by itself
}

// Program is what a host runs.
type Program struct {
	Argv       []string // never a shell string
	Dir        string   // absolute
	Env        []string // K=V, all of it
	Marker     string   // one of Env, that no other start has
	Cols, Rows int
}

// Exit is how a program ended.
type Exit struct {
	Code   int            `json:"code"`             // -1: unknown, or ended by a signal
	Signal syscall.Signal `json:"signal,omitempty"` // 0: none
	Ended  time.Time      `json:"ended"`
}

// Errors of this package. Match with errors.Is.
var (
	ErrGone    = errors.New("terminal: it has ended")
	ErrExists  = errors.New("terminal: it runs already")
	ErrInvalid = errors.New("terminal: refused")
	ErrClosed  = errors.New("terminal: closed")
)

// MaxSide is the most columns and rows of a terminal.
const MaxSide = 1000

const inputMost = 16 << 20 // bytes of one Write

var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func checkID(id string) error {
	if !validID.MatchString(id) {
		return invalid("an id has 1 to 64 letters, digits, - and _")
	}
	return nil
}

func checkSize(cols, rows int) error {
	if cols < 1 || cols > MaxSide || rows < 1 || rows > MaxSide {
		return invalid("a terminal has 1 to %d columns and rows, not %d x %d", MaxSide, cols, rows)
	}
	return nil
}

// check refuses what no host could run as it is meant.
func (p Program) check() error {
	if err := checkSize(p.Cols, p.Rows); err != nil {
		return err
	}
	if len(p.Argv) == 0 || p.Argv[0] == "" {
		return invalid("no program")
	}
	if !filepath.IsAbs(p.Dir) {
		return invalid("the folder must be absolute")
	}
	for _, s := range append(append([]string{p.Dir}, p.Argv...), p.Env...) {
		if strings.ContainsRune(s, 0) {
			return invalid("a NUL in an argument, the folder or the environment")
		}
	}
	for _, kv := range p.Env {
		if name, _, ok := strings.Cut(kv, "="); !ok || !validEnv.MatchString(name) {
			return invalid("the environment has a variable with a bad name")
		}
	}
	return nil
}

var validEnv = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
