// Package launcher is the process that leads a terminal of tmux: it runs the program
// as its child and stays until all that was printed is recorded.
//
// tmux closes a terminal when the process that it started there has ended, which it can
// hear of before it has read the last bytes. So that process is this one: after the
// program has ended it prints a mark, and ends when the recorder has seen it. The program
// shares its process group, so for job control nothing is between the terminal
// and the program.
//
// There is one for each terminal, so it has to be small: it runs while the program
// that it is part of initializes, before all packages that are large. It
// imports only what is initialized early.
package launcher

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Command is the first argument of such a process; the second one is the folder of the recording.
const Command = "terminal-launcher"

func init() {
	if len(os.Args) == 3 && os.Args[1] == Command {
		os.Exit(run(os.Args[2]))
	}
}

// Job is what is to be run.
type Job struct {
	Path string // absolute
	Dir  string
	Env  []string // K=V, all of it
	Argv []string
}

// Files of a recording that the launcher has to do with.
const (
	jobName    = "launch"  // Job, taken away by the launcher: it may hold secrets
	bornName   = "born"    // how the start went
	statusName = "status"  // how the program ended
	tokenName  = "token"   // what makes the mark of this start
	seenName   = "drained" // a pipe on which the recorder says that it saw the mark
	lockName   = "lock"    // locked by the recorder while it runs
)

// Names are the files that no later start may find.
var Names = []string{jobName, bornName, statusName, tokenName, seenName}

// Prepare leaves a job in the folder of a recording. token is random: letters and digits.
func Prepare(dir string, j Job, token string) error {
	for _, name := range Names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, seenName), 0o600); err != nil {
		return &fs.PathError{Op: "mkfifo", Path: filepath.Join(dir, seenName), Err: err}
	}
	fields := append([]string{j.Path, j.Dir, strconv.Itoa(len(j.Env))}, j.Env...)
	fields = append(fields, j.Argv...)
	return errors.Join(os.WriteFile(filepath.Join(dir, tokenName), []byte(token), 0o600),
		os.WriteFile(filepath.Join(dir, jobName), []byte(strings.Join(fields, "\x00")), 0o600))
}

// takeJob reads the job, and deletes it.
func takeJob(dir string) (Job, error) {
	path := filepath.Join(dir, jobName)
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return Job{}, err
	}
	f := strings.Split(string(data), "\x00")
	if len(f) < 4 {
		return Job{}, errors.New("the job is cut")
	}
	n, err := strconv.Atoi(f[2])
	if err != nil || n < 0 || len(f) < 4+n {
		return Job{}, errors.New("the job is cut")
	}
	return Job{Path: f[0], Dir: f[1], Env: f[3 : 3+n], Argv: f[3+n:]}, nil
}

// Mark is what is printed behind the last byte. It begins with CAN, which programs hardly print, and
// is a control string that terminals show nothing of; no setting of a terminal changes a byte of it.
func Mark(token string) []byte { return []byte("\x18\x1bPANTHILL" + token + "\x1b\\") }

// Token returns that of the start that is recorded in dir; empty: nobody will print a mark.
func Token(dir string) string {
	data, err := os.ReadFile(filepath.Join(dir, tokenName))
	if err != nil {
		return ""
	}
	return string(data)
}

// Born returns the pid of the program. known is false until it was started; err says why it was not.
func Born(dir string) (pid int, known bool, err error) {
	data, err := os.ReadFile(filepath.Join(dir, bornName))
	if err != nil {
		return 0, false, nil
	}
	if pid, err = strconv.Atoi(string(data)); err != nil {
		return 0, true, errors.New(string(data))
	}
	return pid, true, nil
}

// Status is how the program ended; known is false when the launcher did not see it.
func Status(dir string) (code int, sig syscall.Signal, known bool) {
	data, err := os.ReadFile(filepath.Join(dir, statusName))
	if err != nil {
		return -1, 0, false
	}
	c, s, _ := strings.Cut(string(data), " ")
	code, errCode := strconv.Atoi(c)
	n, errSignal := strconv.Atoi(s)
	if errCode != nil || errSignal != nil {
		return -1, 0, false
	}
	return code, syscall.Signal(n), true
}

// Lock is held by the recorder of dir until it closes it, or ends. It waits for a former one.
func Lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// recorded says whether a recorder runs.
func recorded(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return false
	}
	defer f.Close() // gives up the lock
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == syscall.EWOULDBLOCK
}

// Seen tells the launcher of dir that its mark has come out of the terminal.
func Seen(dir string) { tell(dir, seenName) }

// News is a pipe in the folder of a recording, for whoever follows it: a byte when the program was
// started, for each write of the recorder, and when that closes.
const News = "news"

// tell puts a byte into a pipe.
func tell(dir, name string) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return // nobody waits any more
	}
	_, _ = f.Write([]byte{1}) // a full pipe says the same
	_ = f.Close()
}

// run is the life of the process. Its status says nothing: the program's is in a file.
func run(dir string) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals) // what is typed reaches the whole group; handlers do not outlive exec
	adopt()
	job, err := takeJob(dir)
	pid := 0
	if err == nil {
		pid, err = job.start()
	}
	if err != nil {
		_ = put(dir, bornName, err.Error()) // whoever waits for it sees that we end
		tell(dir, News)
		return 126
	}
	go passHangUp()
	if err := put(dir, bornName, strconv.Itoa(pid)); err != nil {
		_ = syscall.Kill(pid, syscall.SIGKILL) // nobody could know it; our own child
	}
	tell(dir, News)
	code, sig, err := wait(pid)
	if err != nil {
		return 125
	}
	_ = put(dir, statusName, strconv.Itoa(code)+" "+strconv.Itoa(int(sig))) // on a full disk it is not known
	signal.Ignore(syscall.SIGTTOU, syscall.SIGPIPE)                         // the program may have left the terminal to another group
	drain(dir)
	return 0
}

// passHangUp passes a hang-up on to the program, once: when a terminal goes away the kernel tells the
// leader of its session alone.
func passHangUp() {
	hung := make(chan os.Signal, 1)
	signal.Notify(hung, syscall.SIGHUP)
	<-hung
	_ = syscall.Kill(0, syscall.SIGHUP) // our group, and so this process: nobody listens any more
	_ = syscall.Kill(0, syscall.SIGCONT)
}

func (j Job) start() (int, error) {
	attr := &syscall.ProcAttr{Dir: j.Dir, Env: j.Env, Files: []uintptr{0, 1, 2}}
	pid, err := syscall.ForkExec(j.Path, j.Argv, attr)
	if err == syscall.ENOEXEC { // a script that does not say what reads it
		return syscall.ForkExec("/bin/sh", append([]string{"sh", j.Path}, j.Argv[1:]...), attr)
	}
	return pid, err
}

// wait returns how a child ended. Others that end meanwhile are orphans of the terminal.
func wait(child int) (code int, sig syscall.Signal, err error) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return -1, 0, err
		case pid == child && ws.Signaled():
			return -1, ws.Signal(), nil
		case pid == child && ws.Exited():
			return ws.ExitStatus(), 0, nil
		}
	}
}

// put replaces a small file as a whole.
func put(dir, name, text string) error {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// How long the mark may take to come out of the terminal, and how often it is printed: again, because
// a recorder that is started anew has not seen it.
const (
	drainLimit = 2 * time.Minute
	aloneLimit = 6 * time.Second // without a recorder
	markEvery  = time.Second
)

// drain returns when the recorder has seen the mark.
func drain(dir string) {
	seen, err := os.OpenFile(filepath.Join(dir, seenName), os.O_RDWR|syscall.O_NONBLOCK, 0) // never at its end
	if err != nil {
		return // the recording is gone
	}
	mark := Mark(Token(dir))
	printed := make(chan error, 1)
	begun := time.Now()
	for last := begun; time.Since(begun) < drainLimit && time.Since(last) < aloneLimit; {
		goOn()
		go func() { // a terminal that nobody reads takes nothing
			_, err := os.Stdout.Write(mark)
			printed <- err
		}()
		for waiting := true; waiting && time.Since(begun) < drainLimit && time.Since(last) < aloneLimit; {
			_ = seen.SetReadDeadline(time.Now().Add(markEvery))
			if n, _ := seen.Read(make([]byte, 1)); n > 0 {
				return
			}
			select {
			case err := <-printed:
				if waiting = false; err != nil {
					return // the terminal is gone
				}
			default:
			}
			if recorded(dir) {
				last = time.Now()
			}
		}
	}
}
