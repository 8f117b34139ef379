package usage

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestMeasuresThisProcessAndItsChildren(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := child.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = child.Wait() // killed
	}()
	s, err := New().Measure(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	whole, part := s.Tree(os.Getpid()), s.Tree(child.Process.Pid)
	if whole != s.Total || part.RSS == 0 || whole.RSS <= part.RSS || whole.CPU < 0 {
		t.Errorf("total %+v, tree %+v, child %+v", s.Total, whole, part)
	}
	if other := s.Tree(os.Getppid()); other != (Load{}) {
		t.Errorf("the parent is none of ours: %+v", other)
	}
}

func TestShareIsOfTheTimeBetween(t *testing.T) {
	at := time.Unix(1000, 0)
	now := []process{
		{pid: 1, parent: 0, cpu: time.Hour, rss: 1},
		{pid: 7, parent: 1, cpu: 10 * time.Second, age: 100 * time.Second, rss: 10},
		{pid: 8, parent: 7, cpu: time.Second, age: 2 * time.Second, rss: 20},
		{pid: 9, parent: 9, rss: 1 << 40}, // its own parent
	}
	p := &Probe{self: 7, list: func() ([]process, error) { return now, nil }}
	s, err := p.Measure(at)
	if err != nil {
		t.Fatal(err)
	}
	if s.Total != (Load{60, 30}) || s.Tree(8) != (Load{50, 20}) || s.Tree(9) != (Load{}) {
		t.Errorf("at first: %+v, child %+v", s.Total, s.Tree(8))
	}
	now[1].cpu, now[1].age = 15*time.Second, 110*time.Second
	now[2].cpu, now[2].age = time.Second/2, time.Second // another one under the same number
	if s, err = p.Measure(at.Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if s.Tree(7).CPU != 100 || s.Tree(8).CPU != 50 {
		t.Errorf("later: %+v, child %+v", s.Tree(7), s.Tree(8))
	}
	if s, err = p.Measure(at.Add(10 * time.Second)); err != nil || s.Tree(8).CPU != 0 {
		t.Errorf("at once again: %+v %v", s.Tree(8), err)
	}
}

func TestParsePS(t *testing.T) {
	got := parsePS("  1  0 1024 00:01:02 1-02:03:04\n 7 1 10 0:00.50 00:02\nPID PPID RSS TIME ELAPSED\n9 x 1 0:00 0:00\n")
	want := []process{
		{pid: 1, rss: 1 << 20, cpu: 62 * time.Second, age: 26*time.Hour + 3*time.Minute + 4*time.Second},
		{pid: 7, parent: 1, rss: 10 << 10, cpu: 500 * time.Millisecond, age: 2 * time.Second},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("%+v", got)
	}
}
