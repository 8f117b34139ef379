package blackbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

const padRoot = "/v1/scratchpad/"

// padCell is a cell as REST shows it.
type padCell struct {
	Number        int
	Code          string
	Stdout        string
	Stderr        string
	Error         *string
	Description   string
	EstimatedTime string `json:"estimated_time"`
	Logs          string
	Outputs       []padOutput
	Status        string
	Started       string
	Duration      float64
	Installed     []string
	Notice        string
}

type padOutput struct {
	Kind string
	Data map[string]string
}

func (c padCell) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return clip(b)
}

// pad calls an operation of a scratchpad.
func (s *server) pad(op string, body object) answer { s.t.Helper(); return s.post(padRoot+op, body) }

// startPad opens a scratchpad.
func (s *server) startPad(name string) {
	s.t.Helper()
	if o := s.pad("start", object{"name": name}).ok(); o["status"] != "started" || o["name"] != name {
		s.t.Fatalf("%v", o)
	}
}

// cell runs a cell to its end.
func (s *server) cell(name, code string) padCell {
	s.t.Helper()
	a := s.pad("execute", object{"name": name, "code": code})
	a.ok()
	return decode[struct{ Cell padCell }](s.t, a.body).Cell
}

// printed runs a cell that must succeed and returns what it printed.
func (s *server) printed(name, code string) string {
	s.t.Helper()
	c := s.cell(name, code)
	if c.Status != "ok" || c.Error != nil {
		s.t.Fatalf("%s: %s", code, c)
	}
	return c.Stdout
}

// cells lists the cells of a scratchpad.
func (s *server) cells(name string) []padCell {
	s.t.Helper()
	a := s.get(padRoot + "cells?name=" + name)
	a.ok()
	return decode[struct{ Cells []padCell }](s.t, a.body).Cells
}

// padFrame is one frame of execute-stream.
type padFrame struct {
	Type     string
	Sequence int
	Text     string
	Message  string
	Percent  *float64
	Kind     string
	Data     map[string]string
	Number   int
	Cell     *padCell
	Error    string
}

// padStream is a cell that runs.
type padStream struct {
	t      *testing.T
	frames chan padFrame
	cancel context.CancelFunc
	seen   []padFrame
}

// streamCell runs a cell and reads its frames: one data line each, and no other.
func (s *server) streamCell(name, code string) *padStream {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	s.t.Cleanup(cancel)
	req, err := s.request(ctx, http.MethodPost, padRoot+"execute-stream", object{"name": name, "code": code}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		a, err := s.read("execute-stream", res)
		s.t.Fatalf("%v %v, want a stream", a, err)
	}
	x := &padStream{t: s.t, frames: make(chan padFrame, 1<<14), cancel: cancel}
	go func() {
		defer close(x.frames)
		defer res.Body.Close()
		br := bufio.NewReader(res.Body)
		for {
			block, err := readBlock(br)
			if err != nil || block == nil {
				if err != nil && ctx.Err() == nil {
					s.t.Errorf("%s: %v", code, err)
				}
				return
			}
			if block[0] == ':' {
				continue
			}
			data, ok := bytes.CutPrefix(block, []byte("data: "))
			var f padFrame
			if !ok || bytes.Count(block, []byte("\n")) != 1 || json.Unmarshal(data, &f) != nil {
				s.t.Errorf("%s: not a frame: %q", code, clip(block))
				return
			}
			x.frames <- f
		}
	}()
	return x
}

// until reads on until all of what was printed ends in text.
func (x *padStream) until(text string) {
	x.t.Helper()
	for !strings.HasSuffix(strings.TrimRight(x.printed("stdout"), "\n"), text) {
		select {
		case f, ok := <-x.frames:
			if !ok {
				x.t.Fatalf("it ended before it printed %q: %+v", text, x.seen)
			}
			x.seen = append(x.seen, f)
		case <-time.After(patience):
			x.t.Fatalf("it did not print %q: %+v", text, x.seen)
		}
	}
}

func (x *padStream) printed(stream string) string {
	all := ""
	for _, f := range x.seen {
		if f.Type == stream {
			all += f.Text
		}
	}
	return all
}

// end reads to the end, and returns the cell that is the last frame.
func (x *padStream) end() padCell {
	x.t.Helper()
	for {
		select {
		case f, ok := <-x.frames:
			if ok {
				x.seen = append(x.seen, f)
				continue
			}
			last := x.seen[len(x.seen)-1]
			if last.Type != "cell" || last.Cell == nil {
				x.t.Fatalf("it ended with %+v", last)
			}
			return *last.Cell
		case <-time.After(patience):
			x.t.Fatalf("it did not end: %+v", x.seen)
		}
	}
}

// brood starts processes that ignore every signal that they can, in the group of
// the cell and out of it, and prints their ids and its own.
const brood = `
import os, subprocess, sys
stubborn = "trap '' INT TERM HUP QUIT; echo $$; while :; do sleep 1000; done"
a = subprocess.Popen(["sh", "-c", stubborn], stdout=subprocess.PIPE)
b = subprocess.Popen(["sh", "-c", stubborn], stdout=subprocess.PIPE, start_new_session=True)
print(os.getpid(), *(int(p.stdout.readline()) for p in (a, b)), flush=True)
`

// processes reads ids.
func processes(t *testing.T, text string) (list []int) {
	t.Helper()
	for f := range strings.FieldsSeq(text) {
		pid, err := strconv.Atoi(f)
		if err != nil || pid < 2 {
			t.Fatalf("%q is no list of processes", text)
		}
		list = append(list, pid)
	}
	return list
}

// alive says whether a process runs; one that waits to be buried does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(stat, ')')
	return err == nil && i > 0 && !bytes.HasPrefix(stat[i:], []byte(") Z"))
}

// buried waits until none of the processes runs.
func buried(t *testing.T, list []int) {
	t.Helper()
	if len(list) == 0 {
		t.Error("no processes to wait for")
	}
	deadline := time.Now().Add(patience)
	for _, pid := range list {
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d still runs", pid)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}
