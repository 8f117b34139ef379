package scratchpads

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"anthill/services/internal/fault"
	"anthill/services/internal/kernel"
	"anthill/services/internal/store"
)

const (
	defaultName = "default"
	nameMost    = 64 // characters
	queueMost   = 16 // calls that wait for one scratchpad
)

// Reasons for variables to be gone, as half sentences.
const (
	lostToRestart = "the server was restarted"
	lostToClosing = "the scratchpad was closed"
	lostToCancel  = "the last cell did not react to being cancelled, so its process was ended"
)

// pad is a scratchpad with a kernel.
type pad struct {
	id, name  string
	projectID string
	kernel    *kernel.Kernel
	turn      chan struct{} // a token that the call under way holds

	mu      sync.Mutex
	waiting int
	run     *run // the cell that runs; nil: none does
	coding  Coding
}

// enter waits for the scratchpad's turn; leave ends it.
func (p *pad) enter(ctx context.Context) error {
	p.mu.Lock()
	if p.waiting >= queueMost {
		p.mu.Unlock()
		return fault.New(fault.Precondition, "SCRATCHPAD_BUSY", "%d calls wait for scratchpad '%s' already.", queueMost, p.name)
	}
	p.waiting++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.waiting--
		p.mu.Unlock()
	}()
	select {
	case p.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *pad) leave() { <-p.turn }

// current is the cell that runs, or nil.
func (p *pad) current() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// runs notes which cell runs; nil: none does.
func (p *pad) runs(x *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run = x
}

// seize is enter for calls that end what runs.
func (p *pad) seize(ctx context.Context, cause *kernel.Cause) error {
	for {
		if x := p.current(); x != nil {
			x.cancel(cause)
		}
		short, cancel := context.WithTimeout(ctx, seizeAgain)
		select {
		case p.turn <- struct{}{}:
			cancel()
			return nil
		case <-short.Done(): // another call may have come first
			cancel()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// checkName refuses names that no scratchpad can have.
func checkName(name string) error {
	wrong := ""
	switch {
	case utf8.RuneCountInString(name) > nameMost:
		wrong = "String should have at most 64 characters"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
		wrong = "A name has no control characters"
	case strings.ContainsAny(name, `/\`):
		wrong = "A name has no slashes"
	case strings.TrimSpace(name) != name || name == "." || name == "..":
		wrong = "A name is more than dots, and does not begin or end with a space"
	}
	if wrong != "" {
		return fault.BadField("value_error", wrong, "name")
	}
	return nil
}

// find looks a scratchpad up, open or not; rec is nil if there is none.
func (r *Room) find(ctx context.Context, q address) (proj Project, rec *record, err error) {
	if err := checkName(q.GetName()); err != nil {
		return Project{}, nil, err
	}
	if at, ok := q.(agentAddress); ok {
		proj, err = r.opt.Projects.ByID(ctx, at.projectID)
	} else {
		proj, err = r.opt.Projects.Resolve(ctx, q.GetProject())
	}
	if err != nil {
		return Project{}, nil, err
	}
	err = r.opt.Main.View(ctx, func(rd store.Reader) (err error) {
		rec, err = records.Lookup(rd, byName, nameKey(proj.ID, q.GetConversation(), q.GetName()))
		return err
	})
	return proj, rec, err
}

// address is how requests name a scratchpad.
type address interface {
	GetName() string
	GetProject() string
	GetConversation() string
}

// agentAddress is how agents do: their project may change its name.
type agentAddress struct{ name, projectID, conversation string }

func (a agentAddress) GetName() string         { return a.name }
func (a agentAddress) GetProject() string      { return "" }
func (a agentAddress) GetConversation() string { return a.conversation }

// known is find for calls that need one; open, for those that need it open.
func (r *Room) known(ctx context.Context, q address) (Project, *record, error) {
	proj, rec, err := r.find(ctx, q)
	if err == nil && rec == nil {
		err = errNoPad(q.GetName())
	}
	return proj, rec, err
}

func (r *Room) open(ctx context.Context, q address) (Project, *record, error) {
	proj, rec, err := r.known(ctx, q)
	if err == nil && !rec.Open {
		err = errNoPad(q.GetName())
	}
	return proj, rec, err
}

// padOf returns the scratchpad of a record, with a kernel.
func (r *Room) padOf(rec *record) (*pad, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return nil, errStopping()
	}
	if p := r.pads[rec.ID]; p != nil {
		return p, nil
	}
	p := &pad{id: rec.ID, name: rec.Name, projectID: rec.ProjectID, turn: make(chan struct{}, 1)}
	gone := ""
	if rec.next() > 1 {
		gone = cmp.Or(rec.Lost, lostToRestart)
	}
	p.kernel = r.opt.Engine.Kernel(asker{r, p}, gone)
	r.pads[rec.ID] = p
	return p, nil
}

// enter waits for the turn of a scratchpad; its leave ends it. One that was closed
// or removed since rec was read has none, and no kernel either.
func (r *Room) enter(ctx context.Context, rec *record) (*pad, error) {
	for {
		p, err := r.padOf(rec)
		if err != nil {
			return nil, err
		}
		if err := p.enter(ctx); err != nil {
			return nil, err
		}
		now, err := r.load(ctx, p.id, p.name)
		var f *fault.Error
		switch {
		case err == nil && now.Open && now.ProjectID == p.projectID && r.present(p.id) == p:
			return p, nil
		case err == nil && !now.Open:
			err = errNoPad(p.name)
		case err != nil && !(errors.As(err, &f) && f.Kind == fault.NotFound):
			p.leave()
			return nil, err
		}
		err = errors.Join(r.forget(ctx, p, closed), err)
		p.leave()
		if err != nil {
			return nil, err
		}
		rec = &now // moved, or forgotten, and opened again
	}
}

// closed is why calls end that came while a scratchpad was closed.
var closed = &kernel.Cause{Status: kernel.StatusCancelled, Text: "The scratchpad was closed."}

// present is the scratchpad of that id if it has a kernel, or nil.
func (r *Room) present(id string) *pad {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pads[id]
}

// place is where a scratchpad runs.
func place(proj Project, name string) kernel.Place {
	return kernel.Place{Dir: proj.Path, Env: filepath.Join(proj.Path, ".anton", "scratchpad-venvs", envName(name))}
}

// envName is the folder of a scratchpad's packages: its name, if every file
// system takes that for what it is.
func envName(name string) string {
	plain := func(c rune) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' }
	slug := strings.Map(func(c rune) rune {
		if plain(c) {
			return c
		}
		if c = unicode.ToLower(c); plain(c) {
			return c
		}
		return '-'
	}, name)
	if slug == name && slug[0] != '-' {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "pad-" + strings.Trim(slug, "-") + "-" + hex.EncodeToString(sum[:4])
}
