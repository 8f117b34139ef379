package scratchpads

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	antonv1 "anthill/gen/anton/v1"
	"anthill/services/internal/store"
)

func TestLifecycle(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	env := filepath.Join(h.world.dir, "general", ".anton", "scratchpad-venvs", "a")
	_, err := h.ExecuteCell(h.ctx(), &antonv1.ExecuteCellRequest{Name: "a", Code: proto.String("1")})
	wantFault(t, "before start", err, "SCRATCHPAD_NOT_FOUND")
	contains(t, "the words", err.Error(), "Scratchpad 'a' not found. Call /v1/scratchpad/start first.")
	h.start("a")
	h.start("a") // again is fine
	h.ok("a", "x = 1")
	c := h.exec("a", "print(x)\nx + 1")
	if c.Number != 2 || c.Stdout != "1\n" || c.Outputs[0].Data["text/plain"] != "2" || c.Outputs[0].Kind != "execute_result" || c.Duration <= 0 || len(c.Started) != 24 {
		t.Errorf("%v", c)
	}
	if got := h.list("a"); len(got) != 2 || !proto.Equal(got[1], c) {
		t.Errorf("%v, want %v", got, c)
	}
	l, err := h.ListScratchpads(h.ctx(), &antonv1.ListScratchpadsRequest{})
	if err != nil || len(l.Pads) != 1 || l.Names[0] != "a" || !l.Pads[0].Live || l.Pads[0].Running || l.Pads[0].Cells != 2 || l.Pads[0].LastUsed <= l.Pads[0].Created {
		t.Errorf("%v %v", l, err)
	}
	if live := h.Live(); !slices.Equal(live, []string{"a"}) {
		t.Errorf("%q", live)
	}
	s, err := h.CancelCell(h.ctx(), &antonv1.CancelCellRequest{Name: "a"})
	if err != nil || s.Status != "cancelled" {
		t.Errorf("%v %v", s, err)
	}
	if s, err := h.ResetScratchpad(h.ctx(), &antonv1.ResetScratchpadRequest{Name: "a"}); err != nil || s.Status != "reset" || s.Name != "a" {
		t.Errorf("%v %v", s, err)
	}
	if got := h.list("a"); len(got) != 0 || h.stored() != 0 {
		t.Errorf("cells after reset: %v, stored %d", got, h.stored())
	}
	c = h.exec("a", "x")
	if c.Number != 1 || !strings.Contains(c.GetError(), "NameError") || c.Notice != "" {
		t.Errorf("%v", c)
	}
	if s, err := h.CloseScratchpad(h.ctx(), &antonv1.CloseScratchpadRequest{Name: "a"}); err != nil || s.Status != "closed" {
		t.Errorf("%v %v", s, err)
	}
	if _, err := os.Stat(env); err != nil {
		t.Errorf("closing keeps packages: %v", err)
	}
	if l, err := h.ListScratchpads(h.ctx(), &antonv1.ListScratchpadsRequest{}); err != nil || len(l.Pads) != 0 || len(h.Live()) != 0 {
		t.Errorf("%v %v %q", l, err, h.Live())
	}
	for name, call := range map[string]func() error{
		"execute": func() error {
			_, err := h.ExecuteCell(h.ctx(), &antonv1.ExecuteCellRequest{Name: "a", Code: proto.String("1")})
			return err
		},
		"install": func() error {
			_, err := h.InstallPackages(h.ctx(), &antonv1.InstallPackagesRequest{Name: "a", Packages: []string{"x"}})
			return err
		},
		"reset": func() error {
			_, err := h.ResetScratchpad(h.ctx(), &antonv1.ResetScratchpadRequest{Name: "a"})
			return err
		},
		"cancel": func() error {
			_, err := h.CancelCell(h.ctx(), &antonv1.CancelCellRequest{Name: "a"})
			return err
		},
		"close": func() error {
			_, err := h.CloseScratchpad(h.ctx(), &antonv1.CloseScratchpadRequest{Name: "a"})
			return err
		},
	} {
		wantFault(t, name+" when closed", call(), "SCRATCHPAD_NOT_FOUND")
	}
	if got := h.list("a"); len(got) != 1 {
		t.Errorf("closing keeps cells: %v", got)
	}
	h.start("a")
	if c := h.exec("a", "1"); c.Number != 2 || c.Notice != "Variables of earlier cells are gone: the scratchpad was closed." {
		t.Errorf("%v", c)
	}
	if s, err := h.CleanupScratchpad(h.ctx(), &antonv1.CleanupScratchpadRequest{Name: "a"}); err != nil || s.Status != "cleaned" {
		t.Errorf("%v %v", s, err)
	}
	if _, err := os.Stat(env); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("packages stay: %v", err)
	}
	_, err = h.ListCells(h.ctx(), &antonv1.ListCellsRequest{Name: "a"})
	wantFault(t, "cells after cleanup", err, "SCRATCHPAD_NOT_FOUND")
	if n := h.stored(); n != 0 {
		t.Errorf("%d keys of cells are left", n)
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start("a")
	seen := filepath.Join(h.dir, "seen")
	events := h.begin(h.ctx(), "a", fmt.Sprintf("import os, time, sys\nprint('first')\nwhile not os.path.exists(%q): time.sleep(0.01)\n"+
		"print('häß', end='')\nprint('error', file=sys.stderr)\nprogress('half', 50)\ndisplay(3)\n4", seen))
	var all []*antonv1.CellEvent
	out, errs, kinds := "", "", ""
	for e := range events {
		if int(e.Sequence) != len(all) {
			t.Errorf("event %d is numbered %d", len(all), e.Sequence)
		}
		all = append(all, e)
		out, errs = out+e.GetStdout(), errs+e.GetStderr()
		if strings.Contains(e.GetStdout(), "first") {
			cells := h.list("a") // while it runs
			if len(cells) != 1 || cells[0].Status != "running" || strings.TrimSpace(cells[0].Stdout) != "first" || cells[0].Error != nil {
				t.Errorf("%v", cells)
			}
			l, err := h.ListScratchpads(h.ctx(), &antonv1.ListScratchpadsRequest{})
			if err != nil || !l.Pads[0].Running {
				t.Errorf("%v %v", l, err)
			}
			if err := os.WriteFile(seen, nil, 0o600); err != nil {
				t.Error(err)
			}
		}
		kind := fmt.Sprintf("%T", e.Event)
		if kind = kind[strings.LastIndexByte(kind, '_')+1:]; !strings.HasSuffix(kinds, kind+" ") {
			kinds += kind + " "
		}
	}
	last := all[len(all)-1].GetCell()
	if last == nil || last.Stdout != out || last.Stderr != errs || out != "first\nhäß" || len(last.Outputs) != 2 || last.Status != "ok" {
		t.Fatalf("%v", all)
	}
	if kinds != "Started Stdout Stderr Progress Display Cell " {
		t.Errorf("%s", kinds)
	}
	if cells := h.list("a"); len(cells) != 1 || !proto.Equal(cells[0], last) {
		t.Errorf("%v", cells)
	}
}

// Who hangs up stops nothing; who cancels does.
func TestHangUpAndCancel(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start("a")
	ctx, hangUp := context.WithCancel(h.ctx())
	going := filepath.Join(h.dir, "go")
	events := h.begin(ctx, "a", fmt.Sprintf("import os, time\nprint('one')\nwhile not os.path.exists(%q): time.sleep(0.01)\nprint('two')\nx = 3", going))
	until(t, events, "one")
	hangUp()
	for range events {
	}
	if err := os.WriteFile(going, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := h.ok("a", "print(x)"); out != "3\n" { // it waits for the one before
		t.Errorf("%q", out)
	}
	if cells := h.list("a"); len(cells) != 2 || cells[0].Stdout != "one\ntwo\n" || cells[0].Status != "ok" {
		t.Errorf("%v", cells)
	}
	events = h.begin(h.ctx(), "a", "print('begun')\nwhile True: pass")
	until(t, events, "begun")
	if _, err := h.CancelCell(h.ctx(), &antonv1.CancelCellRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	var last *antonv1.CellEvent
	for e := range events {
		last = e
	}
	if c := last.GetCell(); c.GetStatus() != "cancelled" || c.GetError() != "Cancelled by user." || c.Stdout != "begun\n" {
		t.Errorf("%v", last)
	}
	if c := h.exec("a", "print(x)"); c.Stdout != "3\n" || c.Notice != "" {
		t.Errorf("variables stay: %v", c)
	}
	// Reset and close do not wait for what runs.
	for _, end := range []func() error{
		func() error {
			_, err := h.ResetScratchpad(h.ctx(), &antonv1.ResetScratchpadRequest{Name: "a"})
			return err
		},
		func() error {
			_, err := h.CloseScratchpad(h.ctx(), &antonv1.CloseScratchpadRequest{Name: "a"})
			return err
		},
	} {
		h.start("a")
		events := h.begin(h.ctx(), "a", "print('begun')\nwhile True: pass")
		until(t, events, "begun")
		if err := end(); err != nil {
			t.Fatal(err)
		}
		for e := range events {
			last = e
		}
		if c := last.GetCell(); c.GetStatus() != "cancelled" {
			t.Errorf("%v", last)
		}
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start("a")
	h.ok("a", "x = 1\ndisplay({'text/html': '<b>' + 'y' * 1_500_000 + '</b>'}, raw=True)") // more than one part
	h.exec("a", "1/0")
	before := h.list("a")
	// A cell that the crash cuts off.
	rec, p := h.pad("a")
	if _, _, err := h.noteBegin(h.ctx(), p, &antonv1.ExecuteCellRequest{Code: proto.String("cut")}); err != nil {
		t.Fatal(err)
	}
	// What belongs to nobody.
	if _, err := h.writeCell(h.ctx(), "stray", &antonv1.Cell{Number: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.writeCell(h.ctx(), rec.Series, &antonv1.Cell{Number: 99}); err != nil {
		t.Fatal(err)
	}
	stored := h.stored()
	h.restart()
	after := h.list("a")
	if len(after) != 3 || !proto.Equal(after[0], before[0]) || !proto.Equal(after[1], before[1]) {
		t.Fatalf("%d cells after %d", len(after), len(before))
	}
	if c := after[2]; c.Status != "interrupted" || c.Code != "cut" || c.GetError() == "" {
		t.Errorf("%v", c)
	}
	if n := h.stored(); n != stored-2 {
		t.Errorf("%d keys, %d before", n, stored)
	}
	if l, err := h.ListScratchpads(h.ctx(), &antonv1.ListScratchpadsRequest{}); err != nil || len(l.Pads) != 1 || l.Pads[0].Live {
		t.Errorf("%v %v", l, err)
	}
	c := h.exec("a", "x")
	if c.Number != 4 || !strings.Contains(c.GetError(), "NameError") || c.Notice != "Variables of earlier cells are gone: the server was restarted." {
		t.Errorf("%v", c)
	}
}

// A call that comes to a scratchpad after it was closed, removed or forgotten, of
// which it read before, brings nothing back to life but what is open.
func TestLateCalls(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for name, end := range map[string]func() error{
		"closed": func() error {
			_, err := h.CloseScratchpad(h.ctx(), &antonv1.CloseScratchpadRequest{Name: "closed"})
			return err
		},
		"removed": func() error {
			_, err := h.CleanupScratchpad(h.ctx(), &antonv1.CleanupScratchpadRequest{Name: "removed"})
			return err
		},
	} {
		h.start(name)
		rec, _ := h.pad(name)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		_, err := h.enter(h.ctx(), rec)
		wantFault(t, name, err, "SCRATCHPAD_NOT_FOUND")
		if h.present(rec.ID) != nil {
			t.Errorf("%s: it has a kernel", name)
		}
	}
	h.start("again")
	rec, old := h.pad("again")
	for _, err := range []error{old.enter(h.ctx()), h.forget(h.ctx(), old, closed)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	old.leave()
	if p, err := h.enter(h.ctx(), rec); err != nil || p == old || h.present(rec.ID) != p {
		t.Errorf("%v %v", p, err)
	} else {
		p.leave()
	}
}

// pad is the record and the scratchpad of that name.
func (h *house) pad(name string) (*record, *pad) {
	h.t.Helper()
	_, rec, err := h.known(h.ctx(), &antonv1.ListCellsRequest{Name: name})
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := h.padOf(rec)
	if err != nil {
		h.t.Fatal(err)
	}
	return rec, p
}

// cut is a store that loses power: after left updates the rest fail.
type cut struct {
	store.DB
	left *atomic.Int64
}

var errCut = errors.New("power cut")

func (d cut) Update(ctx context.Context, fn func(store.Tx) error) error {
	if d.left.Add(-1) < 0 {
		return errCut
	}
	return d.DB.Update(ctx, fn)
}

// Wherever the power goes, what was told to have ended is there afterwards, and
// nothing is half.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *Options) { o.Keep = Keep{Cells: 2} })
	h.start("a")
	for cutAfter := range 14 {
		h.close(h.Room)
		left := &atomic.Int64{}
		left.Store(1000)
		h.Room = h.open(cut{h.main, left}, cut{h.bulk, left})
		left.Store(int64(cutAfter))
		told := ""
		for i := range 3 {
			a, err := h.ExecuteCell(h.ctx(), &antonv1.ExecuteCellRequest{Name: "a", Code: proto.String(fmt.Sprintf("print(%d, %d)", cutAfter, i))})
			if err != nil {
				if !errors.Is(err, errCut) {
					t.Errorf("%v", err)
				}
				break
			}
			told = a.Cell.Stdout
		}
		h.restart()
		cells := h.list("a")
		found := told == ""
		for i, c := range cells {
			found = found || c.Stdout == told
			if c.Status != "ok" && c.Status != "interrupted" {
				t.Errorf("after %d updates: %v", cutAfter, c)
			}
			if i > 0 && c.Number != cells[i-1].Number+1 {
				t.Errorf("after %d updates: cell %d follows %d", cutAfter, c.Number, cells[i-1].Number)
			}
		}
		if !found {
			t.Errorf("after %d updates: %q is lost: %v", cutAfter, told, cells)
		}
		if n := h.stored(); n != len(cells) {
			t.Errorf("after %d updates: %d keys for %d cells", cutAfter, n, len(cells))
		}
	}
}

func TestKeepAndPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(o *Options) { o.Keep = Keep{Cells: 5, Bytes: 4 << 20} })
	h.start("a")
	for i := range 7 {
		h.ok("a", fmt.Sprintf("print(%d)", i))
	}
	numbers := func(list []*antonv1.Cell) (out []int32) {
		for _, c := range list {
			out = append(out, c.Number)
		}
		return out
	}
	if got := numbers(h.list("a")); !slices.Equal(got, []int32{3, 4, 5, 6, 7}) || h.stored() != 5 {
		t.Errorf("%v, %d keys", got, h.stored())
	}
	for _, tc := range []struct {
		before, limit, earlier int32
		want                   []int32
	}{{0, 2, 3, []int32{6, 7}}, {6, 2, 1, []int32{4, 5}}, {4, 0, 0, []int32{3}}, {3, 0, 0, nil}, {1, 5, 0, nil}, {1000, 1, 4, []int32{7}}} {
		l, err := h.ListCells(h.ctx(), &antonv1.ListCellsRequest{Name: "a", Before: tc.before, Limit: tc.limit})
		if err != nil || !slices.Equal(numbers(l.Cells), tc.want) || l.Earlier != tc.earlier {
			t.Errorf("%+v: %v %v", tc, l, err)
		}
	}
	for range 4 { // 1.8 MiB each: two of them are kept, and one fits an answer
		h.ok("a", "display({'text/html': 'y' * 1_900_000}, raw=True)")
	}
	l, err := h.ListCells(h.ctx(), &antonv1.ListCellsRequest{Name: "a"})
	if err != nil || !slices.Equal(numbers(l.Cells), []int32{11}) || l.Earlier != 1 || proto.Size(l) > 4<<20 {
		t.Errorf("%v %v", numbers(l.GetCells()), err)
	}
	for _, q := range []*antonv1.ListCellsRequest{{Name: "a", Limit: -1}, {Name: "a", Before: -1}} {
		_, err := h.ListCells(h.ctx(), q)
		wantFault(t, "negative", err, "INVALID_FIELD")
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	type scope struct{ project, conversation string }
	scopes := []scope{{"", ""}, {"other", ""}, {"", "c1"}, {"", "c2"}}
	for i, s := range scopes {
		if _, err := h.StartScratchpad(h.ctx(), &antonv1.StartScratchpadRequest{Name: "a", Project: s.project, Conversation: s.conversation}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.ExecuteCell(h.ctx(), &antonv1.ExecuteCellRequest{Name: "a", Project: s.project, Conversation: s.conversation, Code: proto.String(fmt.Sprintf("x = %d", i))}); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range scopes {
		a, err := h.ExecuteCell(h.ctx(), &antonv1.ExecuteCellRequest{Name: "a", Project: s.project, Conversation: s.conversation, Code: proto.String("print(x)")})
		if err != nil || a.Cell.Stdout != fmt.Sprintf("%d\n", i) {
			t.Errorf("%+v: %v %v", s, a, err)
		}
		if l, err := h.ListScratchpads(h.ctx(), &antonv1.ListScratchpadsRequest{Project: s.project, Conversation: s.conversation}); err != nil || len(l.Pads) != 1 || l.Pads[0].Conversation != s.conversation {
			t.Errorf("%+v: %v %v", s, l, err)
		}
	}
	// Packages are shared within a project, and go with the last who has them.
	env := filepath.Join(h.world.dir, "general", ".anton", "scratchpad-venvs", "a")
	clean := func(conversation string) {
		t.Helper()
		if _, err := h.CleanupScratchpad(h.ctx(), &antonv1.CleanupScratchpadRequest{Name: "a", Conversation: conversation}); err != nil {
			t.Fatal(err)
		}
	}
	clean("c1")
	if _, err := os.Stat(env); err != nil {
		t.Error(err)
	}
	if err := h.DeleteConversation(h.ctx(), "c2"); err != nil {
		t.Fatal(err)
	}
	_, err := h.ListCells(h.ctx(), &antonv1.ListCellsRequest{Name: "a", Conversation: "c2"})
	wantFault(t, "of a deleted conversation", err, "SCRATCHPAD_NOT_FOUND")
	clean("")
	if _, err := os.Stat(env); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if len(h.Live()) != 1 {
		t.Errorf("%q", h.Live())
	}
	h.world.mu.Lock()
	h.world.deleted["other"] = true
	h.world.mu.Unlock()
	_, err = h.ExecuteCell(h.ctx(), &antonv1.ExecuteCellRequest{Name: "a", Project: "other", Code: proto.String("1")})
	wantFault(t, "of a deleted project", err, "PROJECT_NOT_FOUND")
	for range 2 {
		if err := h.DeleteProject(h.ctx(), "OTHER"); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.stored(); n != 0 || len(h.Live()) != 0 {
		t.Errorf("%d keys of cells are left, %q live", n, h.Live())
	}
	_, err = h.StartScratchpad(h.ctx(), &antonv1.StartScratchpadRequest{Name: "a", Project: "unknown"})
	wantFault(t, "unknown project", err, "PROJECT_NOT_FOUND")
}

func TestNames(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, bad := range []string{"a/b", `a\b`, "..", ".", " a", "a ", "a\nb", "a\x00b", "a\x1b[2Jb", strings.Repeat("ä", 65), "\u202ea", "x\xff"} {
		_, err := h.StartScratchpad(h.ctx(), &antonv1.StartScratchpadRequest{Name: bad})
		wantFault(t, fmt.Sprintf("%q", bad), err, "INVALID_FIELD")
	}
	seen := map[string]string{}
	for _, name := range []string{"a", "A", "ä", "Ä", "a b", "a-b", "a_b", "a.b", ".a", "-a", "--help", "$(id)", "pad-a", "1", strings.Repeat("ä", 64), "日本", "😀", "CON", "con", "default", "a?b"} {
		if err := checkName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		env := envName(name)
		for other, of := range seen {
			if strings.EqualFold(other, env) {
				t.Errorf("%q and %q share %q", name, of, env)
			}
		}
		seen[env] = name
		if env == "" || env[0] == '-' || env[0] == '.' || strings.ContainsAny(env, "/ \\$") || len(env) > 100 {
			t.Errorf("%q has folder %q", name, env)
		}
	}
	if envName("sales_2024-q1") != "sales_2024-q1" {
		t.Error("a plain name is its own folder")
	}
	for _, q := range []*antonv1.ExecuteCellRequest{
		{Name: "a", Code: proto.String(strings.Repeat("x", codeMost+1))}, {Name: "a", Code: proto.String("1"), EstimatedSeconds: -1},
		{Name: "a", Code: proto.String("1"), Description: strings.Repeat("x", 2001)}, {Name: "a", Code: proto.String("1"), Packages: []string{"-r x"}},
		{Name: "a", Code: proto.String("1"), Packages: slices.Repeat([]string{"x"}, 51)},
	} {
		_, err := h.ExecuteCell(h.ctx(), q)
		wantFault(t, "execute", err, "INVALID_FIELD")
	}
	_, err := h.InstallPackages(h.ctx(), &antonv1.InstallPackagesRequest{Name: "a", Packages: []string{"ok", "--index-url=http://x"}})
	wantFault(t, "install", err, "INVALID_FIELD")
}

func TestQueue(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start("a")
	events := h.begin(h.ctx(), "a", "print('begun')\nn = 0\nwhile True: pass")
	until(t, events, "begun")
	results := make(chan error, queueMost)
	for range queueMost {
		go func() {
			a, err := h.ExecuteCell(h.ctx(), &antonv1.ExecuteCellRequest{Name: "a", Code: proto.String("n += 1")})
			if err == nil && a.Cell.Status != "ok" {
				err = errors.New(a.Cell.String())
			}
			results <- err
		}()
	}
	_, p := h.pad("a")
	waiting := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.waiting
	}
	for waiting() < queueMost {
		if t.Context().Err() != nil {
			t.Fatal("they do not wait")
		}
		time.Sleep(time.Millisecond)
	}
	_, err := h.ExecuteCell(h.ctx(), &antonv1.ExecuteCellRequest{Name: "a", Code: proto.String("1")})
	wantFault(t, "one more", err, "SCRATCHPAD_BUSY")
	if _, err := h.CancelCell(h.ctx(), &antonv1.CancelCellRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	for range events {
	}
	for range queueMost {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if out := h.ok("a", "print(n)"); out != fmt.Sprintf("%d\n", queueMost) {
		t.Errorf("%q", out)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.start("a")
	h.start("b")
	events := h.begin(h.ctx(), "a", "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('begun')\nwhile True: pass")
	until(t, events, "begun")
	ctx, cancel := context.WithCancel(h.ctx())
	cancel()
	h.Drain(ctx)
	var last *antonv1.CellEvent
	for e := range events {
		last = e
	}
	if c := last.GetCell(); c.GetStatus() != "interrupted" || c.GetError() != stopped.Text {
		t.Errorf("%v", last)
	}
	_, err := h.ExecuteCell(h.ctx(), &antonv1.ExecuteCellRequest{Name: "b", Code: proto.String("1")})
	wantFault(t, "afterwards", err, "STOPPING")
	_, err = h.StartScratchpad(h.ctx(), &antonv1.StartScratchpadRequest{Name: "c"})
	wantFault(t, "afterwards", err, "STOPPING")
	h.restart()
	if cells := h.list("a"); len(cells) != 1 || cells[0].Status != "interrupted" {
		t.Errorf("%v", cells)
	}
}
