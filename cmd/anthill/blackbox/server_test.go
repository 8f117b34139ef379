package blackbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is a running program.
type server struct {
	t    *testing.T
	opts options
	*process

	user string // HOME
	home string // ANTHILL_HOME
	url  string // http://127.0.0.1:PORT, the first of urls
	addr string
	urls []string
	http *http.Client
}

type options struct {
	env     []string
	args    []string
	model   *provider
	key     string // ANT_API_KEY; requests carry it
	prepare func(user, home string)
	shell   string // runs before the program, in the shell that becomes it
	errors  bool   // lines of level ERROR are to be expected
}

type option func(*options)

func withEnv(env ...string) option   { return func(o *options) { o.env = append(o.env, env...) } }
func withArgs(args ...string) option { return func(o *options) { o.args = append(o.args, args...) } }
func withKey(key string) option      { return func(o *options) { o.key = key } }
func withModel(p *provider) option   { return func(o *options) { o.model = p } }

// prepared runs before the first start; home does not exist yet.
func prepared(f func(user, home string)) option { return func(o *options) { o.prepare = f } }

// after runs a line of shell in the process that becomes the program.
func after(line string) option { return func(o *options) { o.shell = line } }

// projects is where project folders are.
func (s *server) projects() string { return filepath.Join(s.home, "projects") }

// start runs the program on a fresh home and waits until it says that it listens.
// When the test ends the program is told to stop, and must do so cleanly.
func start(t *testing.T, with ...option) *server {
	t.Helper()
	var o options
	for _, f := range with {
		f(&o)
	}
	root := t.TempDir()
	s := &server{t: t, opts: o, user: filepath.Join(root, "user"), home: filepath.Join(root, "data")}
	if err := os.Mkdir(s.user, 0o700); err != nil {
		t.Fatal(err)
	}
	if o.prepare != nil {
		o.prepare(s.user, s.home)
	}
	s.launch()
	return s
}

// restart starts the program again on the same home, after stop or kill.
func (s *server) restart(with ...option) {
	s.t.Helper()
	for _, f := range with {
		f(&s.opts)
	}
	s.launch()
}

// with is the same server seen from a subtest.
func (s *server) with(t *testing.T) *server {
	c := *s
	c.t = t
	return &c
}

func (s *server) environ() []string {
	env := []string{"HOME=" + s.user, "ANTHILL_HOME=" + s.home, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir()}
	if p := s.opts.model; p != nil {
		env = append(env, p.env()...)
	}
	if s.opts.key != "" {
		env = append(env, "ANT_API_KEY="+s.opts.key)
	}
	return append(env, s.opts.env...)
}

var listening = regexp.MustCompile(`^anthill \S+ listening on (http://\S+)$`)

func (s *server) launch() {
	s.t.Helper()
	args := append([]string{"serve", "--port", "0"}, s.opts.args...)
	s.process = spawn(s.t, s.environ(), s.opts.shell, args...)
	s.t.Cleanup(s.cleanup(s.process))
	s.urls = nil
	for range 1 + strings.Count(strings.Join(s.opts.args, " "), "--listen") {
		line := s.line()
		m := listening.FindStringSubmatch(line)
		if m == nil {
			s.t.Fatalf("the program says %q instead of where it listens", line)
		}
		s.urls = append(s.urls, m[1])
	}
	s.url = s.urls[0]
	s.addr = strings.TrimPrefix(s.url, "http://")
	s.http = client()
}

// client follows no redirects and keeps its connections to itself.
func client() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DialContext: (&net.Dialer{}).DialContext, MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (s *server) cleanup(p *process) func() {
	return func() {
		if s.opts.model != nil {
			s.opts.model.abort()
		}
		p.terminate(s.t)
		s.endTerminals()
		p.judge(s.t, s.opts.errors)
	}
}

// endTerminals ends the terminals that outlive the program, and waits until nothing
// writes into its home any more.
func (s *server) endTerminals() {
	s.t.Helper()
	var sockets []string
	err := filepath.WalkDir(s.home, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type() == fs.ModeSocket && d.Name() == "tmux.sock" {
			sockets = append(sockets, path)
		}
		return nil // what goes away meanwhile is no matter
	})
	if err != nil {
		s.t.Error(err)
	}
	for _, path := range sockets {
		_ = exec.Command("tmux", "-S", path, "kill-server").Run() // it may have none
	}
	if len(sockets) > 0 {
		s.eventually("the terminals end", func() bool { return !namedByProcess(s.home) })
	}
}

// namedByProcess says whether a process has text in its command line.
func namedByProcess(text string) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		if line, err := os.ReadFile(path); err == nil && strings.Contains(string(line), text) {
			return true
		}
	}
	return false
}

// stop is SIGTERM: the program must end within 10 s, with exit code 0.
func (s *server) stop() {
	s.t.Helper()
	s.http.CloseIdleConnections()
	s.terminate(s.t)
}

// kill is SIGKILL.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	s.killed = true
	s.wait(s.t, patience)
	s.http.CloseIdleConnections()
}

// process is one run of the program.
type process struct {
	cmd    *exec.Cmd
	lines  chan string // of stdout, closed at its end
	stdout output
	stderr output
	exited chan struct{}
	killed bool
}

// spawn starts the program with exactly this environment.
func spawn(t *testing.T, env []string, shell string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, args...)
	if shell != "" {
		cmd = exec.Command("/bin/sh", append([]string{"-c", shell + `; exec "$0" "$@"`, binary}, args...)...)
	}
	p := &process{cmd: cmd, lines: make(chan string, 10_000), exited: make(chan struct{})}
	p.cmd.Env = env
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		sc := bufio.NewScanner(io.TeeReader(out, &p.stdout))
		sc.Buffer(nil, 64<<20)
		for sc.Scan() {
			p.lines <- sc.Text()
		}
		close(p.lines)
		var exit *exec.ExitError
		if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
			p.stderr.note("wait: " + err.Error())
		}
	}()
	return p
}

// line is the next line of stdout.
func (p *process) line() string {
	select {
	case l, ok := <-p.lines:
		if ok {
			return l
		}
		<-p.exited
		return "(ended) " + p.stderr.String()
	case <-time.After(patience):
		return "(nothing in time) " + p.stderr.String()
	}
}

func (p *process) wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-p.exited:
	case <-time.After(d):
		t.Errorf("the program did not end within %v", d)
		if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil { // it says what it waits for
			t.Error(err)
		}
		select {
		case <-p.exited:
		case <-time.After(d):
			if err := p.cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			<-p.exited
		}
	}
}

// stopWithin is what the program promises for SIGTERM.
const stopWithin = 10 * time.Second

func (p *process) terminate(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
		return
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Error(err)
	}
	p.wait(t, stopWithin)
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("SIGTERM ended the program with code %d", code)
	}
}

// judge fails the test for what a sound program never writes.
func (p *process) judge(t *testing.T, errorsExpected bool) {
	t.Helper()
	text := p.stderr.String()
	for _, bad := range []string{"DATA RACE", "panic:", "panic while serving", "fatal error:", "level=ERROR"} {
		if strings.Contains(text, bad) && !(errorsExpected && bad == "level=ERROR") {
			t.Errorf("the program wrote %q to stderr", bad)
		}
	}
	if t.Failed() {
		if len(text) > 64<<10 {
			text = "…" + text[len(text)-64<<10:]
		}
		t.Logf("stderr of process %d:\n%s", p.cmd.Process.Pid, text)
	}
}

// command runs the program to its end and returns what it printed.
func command(t *testing.T, env []string, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	c.Env, c.Stdin, c.Stdout, c.Stderr = env, strings.NewReader(stdin), &out, &errs
	var exit *exec.ExitError
	if err := c.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for _, bad := range []string{"DATA RACE", "panic:", "goroutine "} {
		if strings.Contains(errs.String(), bad) {
			t.Errorf("anthill %s wrote %q:\n%s", strings.Join(args, " "), bad, errs.String())
		}
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) note(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.WriteString(line + "\n")
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// peakMemory is the most that the process ever had in memory, in bytes.
func (p *process) peakMemory(t *testing.T) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatalf("no VmHWM in %s", data)
	return 0
}

// eventually waits for what happens by itself, and of which nothing tells.
func (s *server) eventually(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for pause := time.Millisecond; !ok(); pause = min(2*pause, 100*time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("it never happens: %s", what)
		}
		time.Sleep(pause)
	}
}
