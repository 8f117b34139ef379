// Package services opens the rooms and joins them: it is the only place that
// knows them all. What one room needs of another is handed over here, as the
// small interface that the needing room declares.
package services

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"

	"anthill/services/access"
	"anthill/services/agents"
	"anthill/services/backup"
	"anthill/services/broadcasts"
	"anthill/services/conversations"
	"anthill/services/evidence"
	"anthill/services/exports"
	"anthill/services/files"
	"anthill/services/identity"
	"anthill/services/internal/agent/probe"
	"anthill/services/internal/agent/web"
	"anthill/services/internal/dial"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/memory"
	"anthill/services/projects"
	"anthill/services/rooms"
	"anthill/services/scratchpads"
	"anthill/services/search"
	"anthill/services/sessions"
	"anthill/services/settings"
	"anthill/services/tasks"
	"anthill/services/terminals"
)

// Config says where things are.
type Config struct {
	Home        string // data directory; made with mode 0700
	ProjectsDir string // folder of project folders
	EnvFile     string // provider settings, usually ~/.anton/.env
	Getenv      func(string) (string, bool)
	APIKey      string // empty: callers need none
	Version     string
	MaxActive   int           // terminals and agents that run at once, as health shows it; 0: no limit
	Retention   time.Duration // how long a deleted session is kept; 0: for ever
	Log         *slog.Logger

	TerminalHost string // tmux, pty or auto
	TerminalKeep int64  // bytes kept of what each terminal prints; 0: 128 MiB

	InviteMaxFailures int // wrong passwords that revoke an invite; 0: 5

	ObsidianVault string // directory that rooms are exported to; empty: none
	OpenSlideDir  string // the same for slides
}

// migrations bring a store of an earlier version up to this one, in order.
var migrations = []store.Migration{
	{Version: 1, Name: "first layout", Run: func(context.Context, store.DB) error { return nil }},
}

// Services are all rooms over one home.
type Services struct {
	chain         *chain
	access        *access.Room
	agents        *agents.Room
	backup        *backup.Room
	broadcasts    *broadcasts.Room
	conversations *conversations.Room
	evidence      *evidence.Room
	identity      *identity.Room
	exports       *exports.Room
	files         *files.Room
	memory        *memory.Room
	projects      *projects.Room
	rooms         *rooms.Room
	search        *search.Room
	scratchpads   *scratchpads.Room
	sessions      *sessions.Room
	settings      *settings.Room
	tasks         *tasks.Room
	terminals     *terminals.Room
	own           ownAddresses
	owner         string   // file that says who holds the home
	closers       []closer // in the order of closing
}

type closer struct {
	name  string
	close func(context.Context) error
}

// Open opens the home, brings its data up to date, ends what a crash left
// open, and joins the rooms. It fails if another process holds the home, if
// the data was written by a newer version, or if it is damaged.
func Open(ctx context.Context, c Config) (_ *Services, err error) {
	if err := os.MkdirAll(c.Home, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	s := &Services{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
		}
	}()
	if err := s.hold(c.Home); err != nil {
		return nil, err
	}
	main, bulk, err := s.openStores(ctx, c)
	if err != nil {
		return nil, err
	}
	s.access = openAccess(c, main)
	s.chain = &chain{access: s.access, newID: newID, log: c.Log}
	outgoing := dial.Policy{Private: true, Own: s.own.has}
	prober := probe.New(outgoing)
	finder := probe.NewFinder(probe.FinderOptions{Getenv: c.Getenv, Prober: prober})
	if s.settings, err = settings.Open(ctx, settings.Options{DB: main, EnvFile: c.EnvFile, Getenv: c.Getenv,
		Prober: prober, Finder: finder, Keyed: c.APIKey != "", Version: c.Version, Log: c.Log}); err != nil {
		return nil, fmt.Errorf("open settings: %w", err)
	}
	s.closeFirst("settings", s.settings.Close)
	models := newModels(s.settings, finder, outgoing)
	s.closeFirst("connections to models", models.Close)
	reader, err := newReader()
	if err != nil {
		return nil, err
	}
	if s.projects, err = projects.Open(ctx, projects.Options{DB: main, Dir: c.ProjectsDir, Now: time.Now,
		NewID: newID, Read: reader.Extract, Log: c.Log}); err != nil {
		return nil, fmt.Errorf("open projects: %w", err)
	}
	s.closeFirst("projects", s.projects.Close)
	if s.scratchpads, err = openScratchpads(ctx, c, main, bulk, s.projects, models); err != nil {
		return nil, fmt.Errorf("open scratchpads: %w", err)
	}
	s.closeFirst("scratchpads", s.scratchpads.Close)
	s.memory = openMemory(c, main, s.projects, s.settings)
	servers := newServers(c, s.settings, outgoing)
	s.closeFirst("servers for tools", servers.Close)
	around := projectsFor{room: s.projects, pads: s.scratchpads, memory: s.memory, servers: servers, web: web.Tools(dial.Policy{Own: s.own.has}), log: c.Log}
	if s.conversations, err = conversations.Open(ctx, conversations.Options{Main: main, Bulk: bulk,
		Projects: around, Attachments: around, Dependents: around, Memory: lessonsFor{s.memory}, Model: models.choose,
		Now: time.Now, NewID: newID, Log: c.Log}); err != nil {
		return nil, fmt.Errorf("open conversations: %w", err)
	}
	s.closeFirst("conversations", s.conversations.Close)
	s.sessions = openSessions(c, main)
	s.closeFirst("sessions", s.sessions.Close)
	s.access.Join(guestRooms{s.sessions})
	s.rooms = rooms.Open(rooms.Options{Main: main, Bulk: bulk, Sessions: roomsFor{s.sessions},
		Now: time.Now, NewID: rowID, Address: s.own.reachable, Log: c.Log})
	s.closeFirst("rooms", s.rooms.Close)
	s.tasks = tasks.Open(tasks.Options{DB: main, Sessions: tasksFor{s.sessions}, Now: time.Now, NewID: rowID})
	if s.files, err = openFiles(ctx, c, main, s.sessions); err != nil {
		return nil, fmt.Errorf("open files: %w", err)
	}
	s.closeFirst("files", s.files.Close)
	s.identity = identity.Open(identity.Options{DB: main, Sessions: identitiesFor{s.sessions}, Now: time.Now})
	s.evidence = evidence.Open(evidence.Options{DB: main, Sessions: evidenceFor{s.sessions}, Now: time.Now})
	if err = s.openTerminals(ctx, c, main, bulk); err != nil {
		return nil, fmt.Errorf("open terminals: %w", err)
	}
	if err = s.openAgents(ctx, c, main); err != nil {
		return nil, err
	}
	s.search = openSearch(c, main, s.rooms, s.conversations, s.projects)
	s.closeFirst("search", s.search.Close)
	s.memory.Join(pastFor{s.search})
	s.openBroadcasts(c, main)
	s.exports = openExports(c, s)
	s.backup = backup.Open(backup.Options{Main: main, Bulk: bulk, Home: c.Home, ProjectsDir: c.ProjectsDir,
		Version: c.Version, Now: time.Now, Log: c.Log})
	s.closeFirst("backup", s.backup.Close)
	s.projects.Join(projectParts{s.conversations, s.scratchpads, servers})
	s.sessions.Join(sessionParts{s.terminals, s.agents, s.rooms, s.files, s.tasks, s.evidence, s.identity, s.access}, focus{s.rooms})
	s.settings.Join(s.conversations)
	s.settings.JoinPads(s.scratchpads)
	s.settings.JoinServers(serversFor{servers, s.projects, s.conversations})
	s.terminals.JoinWatcher(s.agents)
	s.rooms.JoinCoworkers(coworkersFor{room: s.conversations, projects: s.projects, log: c.Log})
	return s, s.joinAgents(ctx)
}

// Register adds every service to a server. It is used for the native gRPC
// server and for the in-process channel, with the same interceptors.
func (s *Services) Register(r grpc.ServiceRegistrar) {
	s.access.Register(r)
	s.backup.Register(r)
	s.broadcasts.Register(r)
	s.settings.Register(r)
	s.projects.Register(r)
	s.conversations.Register(r)
	s.scratchpads.Register(r)
	s.sessions.Register(r)
	s.rooms.Register(r)
	s.identity.Register(r)
	s.tasks.Register(r)
	s.terminals.Register(r)
	s.agents.Register(r)
	s.evidence.Register(r)
	s.search.Register(r)
	s.exports.Register(r)
	s.files.Register(r)
	s.memory.Register(r)
}

// Unary is the interceptor of unary calls.
func (s *Services) Unary() grpc.UnaryServerInterceptor { return s.chain.unary }

// Stream is the interceptor of streaming calls.
func (s *Services) Stream() grpc.StreamServerInterceptor { return s.chain.stream }

// Drain refuses new work and waits for what runs until ctx ends, then stops
// and seals it. Streams that follow the work end by themselves.
func (s *Services) Drain(ctx context.Context) {
	// Turns that are stopped wait for their cells.
	patient := context.AfterFunc(ctx, func() { s.scratchpads.Drain(ctx) })
	defer patient()
	s.conversations.Drain(ctx)
	s.scratchpads.Drain(ctx)
}

// Close closes the rooms, the last opened first, and then the stores. Every
// closer runs; their errors are joined.
func (s *Services) Close(ctx context.Context) error {
	var all []error
	for _, c := range s.closers {
		if err := c.close(ctx); err != nil {
			all = append(all, fmt.Errorf("close %s: %w", c.name, err))
		}
	}
	s.closers = nil
	return errors.Join(all...)
}

func (s *Services) closeFirst(name string, f func(context.Context) error) {
	s.closers = append([]closer{{name, f}}, s.closers...)
}

// openStores opens the two files of the home: small writes in one, bulk bytes
// in the other, so that the second never delays the first.
func (s *Services) openStores(ctx context.Context, c Config) (main, bulk *bolt.DB, err error) {
	dir := filepath.Join(c.Home, "store")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the store's directory: %w", err)
	}
	owner := filepath.Join(dir, "owner.json")
	mainPath, bulkPath := filepath.Join(dir, "main.db"), filepath.Join(dir, "bulk.db")
	if size(mainPath) == 0 && size(bulkPath) > 0 {
		// Starting empty would sweep the bulk file, to which nothing leads any more.
		return nil, nil, fmt.Errorf("%w: %s is missing or empty, but %s is not: put main.db back from a backup, "+
			"or move both files away to start afresh", store.ErrCorrupt, mainPath, bulkPath)
	}
	main, err = bolt.Open(bolt.Options{Path: mainPath, Limits: store.MainLimits, Logger: c.Log})
	if errors.Is(err, store.ErrInUse) {
		return nil, nil, inUse(c.Home, owner)
	}
	if err != nil {
		return nil, nil, err
	}
	s.closeFirst("main store", func(context.Context) error { return main.Close() })
	bulk, err = bolt.Open(bolt.Options{Path: bulkPath, Limits: store.BulkLimits, Logger: c.Log})
	if err != nil {
		return nil, nil, err
	}
	s.closeFirst("bulk store", func(context.Context) error { return bulk.Close() })
	err = store.Migrate(ctx, main, migrations, func(ctx context.Context, from int) error {
		return backupSchema(ctx, c.Home, from, main, bulk)
	})
	if err != nil {
		return nil, nil, err
	}
	s.owner = owner
	return main, bulk, s.Announce(nil)
}

// size is the size of a file, 0 if there is none.
func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// ownerFile says who holds a home.
type ownerFile struct {
	PID       int      `json:"pid"`
	Addresses []string `json:"addresses"`
}

// Announce notes at which addresses this process serves, for whoever tries to
// open the same home.
func (s *Services) Announce(addresses []string) error {
	s.own.set(addresses)
	b, err := json.Marshal(ownerFile{PID: os.Getpid(), Addresses: addresses})
	if err == nil {
		err = os.WriteFile(s.owner, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("note who holds the store: %w", err)
	}
	return nil
}

// inUse names who holds the home, as far as it said so.
func inUse(home, owner string) error {
	var o ownerFile
	b, err := os.ReadFile(owner)
	if err != nil || json.Unmarshal(b, &o) != nil {
		return fmt.Errorf("%w: %s is in use by another anthill: stop it, or set ANTHILL_HOME to another directory", store.ErrInUse, home)
	}
	return fmt.Errorf("%w: %s is in use by the anthill with process id %d, serving %s: stop it, or set ANTHILL_HOME to another directory",
		store.ErrInUse, home, o.PID, strings.Join(o.Addresses, ", "))
}

// backupSchema copies both files before a schema step, main first: it refers to bulk.
func backupSchema(ctx context.Context, home string, from int, main, bulk *bolt.DB) error {
	dir := filepath.Join(home, "backups", fmt.Sprintf("schema-%d-%s", from, time.Now().UTC().Format("20060102T150405Z")))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the backup's directory: %w", err)
	}
	for _, part := range []struct {
		name string
		db   *bolt.DB
	}{{"main.db", main}, {"bulk.db", bulk}} {
		if err := backupFile(ctx, filepath.Join(dir, part.name), part.db); err != nil {
			return err
		}
	}
	return nil
}

func backupFile(ctx context.Context, path string, db interface {
	Backup(context.Context, io.Writer) error
}) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the backup: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := db.Backup(ctx, f); err != nil {
		return err
	}
	return f.Sync()
}

// newID makes an id that cannot be guessed.
func newID(prefix string) string {
	var b [12]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("crypto/rand failed: " + err.Error()) // documented never to happen
	}
	return prefix + hex.EncodeToString(b[:])
}
