package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	antv1 "anthill/gen/ant/v1"
	"anthill/services/internal/fault"
	"anthill/services/internal/store"
	"anthill/services/internal/store/bolt"
	"anthill/services/internal/store/storetest"
)

type fakeSessions map[string]*Session

func (f fakeSessions) Find(_ store.Reader, ref string) (*Session, error) { return f[ref], nil }

// machine is a room on a machine whose processes the test decides about.
type machine struct {
	t       *testing.T
	room    *Room
	db      store.DB
	runs    map[int]string // when each process began
	now     time.Time
	session fakeSessions
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	db, err := bolt.Open(bolt.Options{Path: filepath.Join(t.TempDir(), "main.db"), Limits: store.MainLimits, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	m := &machine{t: t, db: storetest.RunTwice(db), runs: map[int]string{}, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		session: fakeSessions{"s": {ID: "s", Handle: "@s", DisplayName: "S"}, "@s": {ID: "s", Handle: "@s", DisplayName: "S"}}}
	m.room = Open(Options{DB: m.db, Sessions: m.session, Now: func() time.Time { return m.now }, Start: func(pid int) string { return m.runs[pid] }})
	return m
}

func here(t *testing.T) context.Context {
	return metadata.NewIncomingContext(t.Context(), metadata.Pairs(clientAddress, "127.0.0.1"))
}

func (m *machine) register(pid int32) {
	m.t.Helper()
	if _, err := m.room.RegisterIdentity(here(m.t), &antv1.RegisterIdentityRequest{Pid: pid, SenderId: "@s"}); err != nil {
		m.t.Fatal(err)
	}
}

// of is the process whose session is found, 0 for none.
func (m *machine) of(pids ...int32) int32 {
	m.t.Helper()
	v, err := m.room.ResolveIdentity(here(m.t), &antv1.ResolveIdentityRequest{Pids: pids})
	if err != nil {
		m.t.Fatal(err)
	}
	return v.Identity.GetPid()
}

func TestProcessesAreKnownByTheirStart(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.runs[10], m.runs[11] = "a", "b"
	m.register(10)
	m.register(11)
	for want, pids := range map[int32][]int32{10: {0, -5, 1, 99, 10, 11}, 11: {11, 10}, 0: {99}} {
		if got := m.of(pids...); got != want {
			t.Errorf("%v: %d, want %d", pids, got, want)
		}
	}
	m.runs[10] = "another process"
	if got := m.of(10, 11); got != 11 {
		t.Errorf("a process with the id of another was taken for it: %d", got)
	}
	delete(m.runs, 11)
	if got := m.of(10, 11); got != 0 {
		t.Errorf("a process that has ended has a session: %d", got)
	}
	m.register(10)
	if got := m.of(10); got != 10 {
		t.Error("registered anew, not found")
	}
	m.now = m.now.Add(kept)
	if got := m.of(10); got != 0 {
		t.Error("kept for longer than is said")
	}
}

func (m *machine) rows() (n int) {
	m.t.Helper()
	err := m.db.View(m.t.Context(), func(rd store.Reader) error {
		n = 0
		for _, err := range processes.Scan(rd, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// Processes that have ended are forgotten, and those of a session that is deleted.
func TestForgetting(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for pid := range int32(300) {
		m.runs[int(pid)+2] = fmt.Sprint(pid)
		m.register(pid + 2)
		if pid%2 == 0 {
			delete(m.runs, int(pid)+2)
		}
	}
	if n := m.rows(); n < 150 || n > 180 {
		t.Errorf("%d processes, 150 of them run", n)
	}
	if err := m.room.DeleteSession(t.Context(), "other"); err != nil || m.rows() < 150 {
		t.Errorf("%d left, %v", m.rows(), err)
	}
	if err := m.room.DeleteSession(t.Context(), "s"); err != nil || m.rows() != 0 {
		t.Errorf("%d left, %v", m.rows(), err)
	}
}

func TestCallersFromElsewhereAreRefused(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.runs[10] = "a"
	address := func(ip string) context.Context {
		return peer.NewContext(t.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}})
	}
	told := func(pairs ...string) context.Context {
		return metadata.NewIncomingContext(t.Context(), metadata.Pairs(pairs...))
	}
	for name, c := range map[string]struct {
		ctx context.Context
		ok  bool
	}{
		"loopback": {address("127.0.0.1"), true}, "loopback, IPv6": {address("::1"), true}, "network": {address("192.0.2.1"), false},
		"told": {told(clientAddress, "127.0.0.2"), true}, "told, network": {told(clientAddress, "192.0.2.1"), false}, "not told": {t.Context(), false},
		"told twice": {told(clientAddress, "127.0.0.1", clientAddress, "192.0.2.1"), false},
		"invented":   {metadata.NewIncomingContext(address("192.0.2.1"), metadata.Pairs(clientAddress, "127.0.0.1")), false},
	} {
		_, err := m.room.ResolveIdentity(c.ctx, &antv1.ResolveIdentityRequest{Pids: []int32{10}})
		_, err2 := m.room.RegisterIdentity(c.ctx, &antv1.RegisterIdentityRequest{Pid: 10, SenderId: "s"})
		for _, err := range []error{err, err2} {
			var f *fault.Error
			if refused := errors.As(err, &f) && f.Reason == "LOCAL_ONLY"; refused == c.ok {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// The system tells processes apart, also those that have ended.
func TestStarted(t *testing.T) {
	t.Parallel()
	own := started(os.Getpid())
	if own == "" || own != started(os.Getpid()) {
		t.Errorf("this process began at %q", own)
	}
	c := exec.CommandContext(t.Context(), "sleep", "600")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if at := started(c.Process.Pid); at == "" || at == own {
		t.Errorf("a child began at %q, its parent at %q", at, own)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it was killed
	if at := started(c.Process.Pid); at != "" {
		t.Errorf("a process that has ended began at %q", at)
	}
}
