// Package settings is the room of the CoWork API that knows which models
// answer, what the agent may keep and publish, and how the desktop app looks;
// and that tells whether the server is well.
//
// Callers enter by SettingsService, ModelsService and HealthService; the room of
// conversations asks Model at the start of every turn. Keys, providers and
// models live in a dotenv file that people and other programs edit too, so it
// is read again whenever it changed; preferences live in the store. A key leaves
// the room inside a Model, in a question to the provider it belongs to, and to
// callers who could read the file themselves (RevealKey, GetRawSettings); no
// error, log or other answer has one. Nothing here calls a model, and a provider
// that cannot answer is never quietly replaced by another.
package settings

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/agent/probe"
	"anthill/services/internal/store"
)

// Turns knows what is being answered.
type Turns interface {
	// Running returns the ids of the conversations with a running turn.
	Running() []string
}

// Options open the room.
type Options struct {
	DB      store.DB
	EnvFile string // the dotenv file, ~/.anton/.env; need not exist
	// Getenv reads the process environment, which wins over the file. Nil: os.LookupEnv.
	Getenv func(name string) (string, bool)
	Prober *probe.Prober
	Finder *probe.Finder
	// Keyed says that callers have shown a key before they get here. Without one
	// keys are shown to callers on this machine only.
	Keyed   bool
	Version string
	Log     *slog.Logger     // nil: slog.Default()
	Turns   Turns            // may be nil, and be joined later
	Now     func() time.Time // nil: time.Now
}

// Room serves SettingsService, ModelsService and HealthService. Safe for
// concurrent use.
type Room struct {
	antonv1.UnimplementedSettingsServiceServer
	antonv1.UnimplementedModelsServiceServer
	antonv1.UnimplementedHealthServiceServer
	antonv1.UnimplementedMcpServiceServer

	db      store.DB
	process func(string) (string, bool)
	file    *envFile
	prober  *probe.Prober
	finder  *probe.Finder
	keyed   bool
	version string
	log     *slog.Logger
	opened  time.Time

	mu      sync.Mutex
	turns   Turns
	pads    Pads
	servers Servers
}

// Open makes the room. It creates nothing on disk: the file appears with the
// first setting. A file that cannot be read is logged and told by GetHealth,
// and does not keep the room from opening.
func Open(_ context.Context, o Options) (*Room, error) {
	if o.DB == nil {
		return nil, errors.New("settings: no store")
	}
	if o.EnvFile == "" {
		return nil, errors.New("settings: no name for the settings file")
	}
	if o.Prober == nil || o.Finder == nil {
		return nil, errors.New("settings: nobody to ask providers")
	}
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Room{
		db:      o.DB,
		process: o.Getenv,
		file:    &envFile{path: o.EnvFile, now: o.Now},
		prober:  o.Prober,
		finder:  o.Finder,
		keyed:   o.Keyed,
		version: o.Version,
		opened:  o.Now(),
		log:     o.Log,
		turns:   o.Turns,
	}
	if err := r.file.sweep(); err != nil {
		r.log.Warn("settings: leftovers of an interrupted write stay", "err", err)
	}
	if _, err := r.file.values(); err != nil {
		r.log.Warn("settings: the settings file cannot be read", "err", err)
	}
	return r, nil
}

// Pads knows the scratchpads that have a process.
type Pads interface {
	// Live returns their names.
	Live() []string
}

// JoinPads says who knows the scratchpads.
func (r *Room) JoinPads(p Pads) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pads = p
}

func (r *Room) livePads() []string {
	r.mu.Lock()
	p := r.pads
	r.mu.Unlock()
	if p == nil {
		return []string{}
	}
	return p.Live()
}

// Join says who knows the running turns.
func (r *Room) Join(t Turns) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turns = t
}

// Register offers the room's services.
func (r *Room) Register(s grpc.ServiceRegistrar) {
	antonv1.RegisterSettingsServiceServer(s, r)
	antonv1.RegisterModelsServiceServer(s, r)
	antonv1.RegisterHealthServiceServer(s, r)
	antonv1.RegisterMcpServiceServer(s, r)
}

// Close waits for a write of the settings file under way. The store stays open.
func (r *Room) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		r.file.writing.Lock()
		defer r.file.writing.Unlock()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Room) running() []string {
	r.mu.Lock()
	t := r.turns
	r.mu.Unlock()
	if t == nil {
		return nil
	}
	return t.Running()
}

// env is the configuration as it is now. On error it holds the process
// environment alone.
func (r *Room) env() (env, error) {
	values, err := r.file.values()
	return r.over(values, r.process), err
}

// over is the configuration of a file under a process; nil for the file alone.
func (r *Room) over(file map[string]string, process func(string) (string, bool)) env {
	return env{process: process, file: file, local: r.finder.Root}
}
