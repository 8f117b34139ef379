package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"anthill/services/internal/fault"
)

// interpreter is the Python that environments are made from.
type interpreter struct {
	path    string
	version string // 3.12.1
	pip     bool   // environments find it among the packages of the system
}

// release is the part of the version that packages depend on.
func (py *interpreter) release() string { return release(py.version) }

func release(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

const askInterpreter = `import importlib.util as u, sys
print(sys.executable, ".".join(map(str, sys.version_info[:3])), int(u.find_spec("pip") is not None), int(sys.version_info >= (3, 9)), sep="\n")`

// interpreter finds Python, once; the fault PYTHON_MISSING says what to install.
func (e *Engine) interpreter(ctx context.Context) (*interpreter, error) {
	e.mu.Lock()
	known := e.python
	e.mu.Unlock()
	if known != nil {
		if _, err := os.Stat(known.path); err == nil {
			return known, nil
		}
	}
	missing := func(why string) *fault.Error {
		return fault.New(fault.Unavailable, "PYTHON_MISSING", "Scratchpads need Python 3.9 or newer, and %s. "+
			"Install it (such as: apt install python3 python3-venv, or: brew install python3), then try again.", why)
	}
	path := e.lookup(e.opt.Python)
	if path == "" {
		return nil, missing("there is no " + e.opt.Python + " on the PATH of the server")
	}
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	ask := exec.CommandContext(limited, path, "-I", "-c", askInterpreter)
	ask.Env, ask.Dir, ask.WaitDelay = e.environ(Place{}), e.opt.Dir, time.Second
	out, err := ask.Output()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || len(lines) != 4 || !filepath.IsAbs(lines[0]) {
		return nil, missing(path + " does not work").Because(errors.Join(err, fmt.Errorf("it printed %q", out)))
	}
	py := &interpreter{path: lines[0], version: lines[1], pip: lines[2] == "1"}
	if lines[3] != "1" {
		return nil, missing(fmt.Sprintf("%s is Python %s", path, py.version))
	}
	e.mu.Lock()
	e.python = py
	e.mu.Unlock()
	return py, nil
}

// lookup finds a program on the PATH that children get; empty: it is not there.
func (e *Engine) lookup(name string) string {
	if strings.ContainsRune(name, filepath.Separator) {
		return name
	}
	path, _ := e.opt.Getenv("PATH")
	for _, dir := range filepath.SplitList(path) {
		found := filepath.Join(cmp.Or(dir, "."), name)
		if info, err := os.Stat(found); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && filepath.IsAbs(found) {
			return found
		}
	}
	return ""
}

func envPython(env string) string { return filepath.Join(env, "bin", "python") }

// environment is what the engine knows of one: several kernels may have it.
type environment struct {
	turn   chan struct{} // a token that the call under way that changes it holds
	making bool          // it is not whole yet
	made   int           // how often it was made
}

// environment returns that of a place. The lock is held.
func (e *Engine) environment(at Place) *environment {
	v := e.envs[at.Env]
	if v == nil {
		v = &environment{turn: make(chan struct{}, 1)}
		e.envs[at.Env] = v
	}
	return v
}

// look says how often an environment was made, and whether it is whole.
func (e *Engine) look(at Place) (made int, whole bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := e.environment(at)
	return v.made, !v.making
}

func (e *Engine) changeEnv(at Place, fn func(*environment)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	fn(e.environment(at))
}

// lockEnv makes sure that only one call at a time changes an environment.
func (e *Engine) lockEnv(ctx context.Context, at Place) (free func(), err error) {
	e.mu.Lock()
	turn := e.environment(at).turn
	e.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// launch starts a worker in an environment that works: one that does not is made
// anew, with the packages that it had.
func (e *Engine) launch(ctx context.Context, at Place, model Model) (*process, error) {
	py, err := e.interpreter(ctx)
	if err != nil {
		return nil, err
	}
	if err := e.prepare(ctx, py, at); err != nil {
		return nil, err
	}
	made, _ := e.look(at)
	p, err := e.spawn(ctx, py, at, model)
	if err == nil || ctx.Err() != nil {
		return p, err
	}
	e.opt.Log.Warn("a scratchpad's environment does not work and is made anew", "env", at.Env, "error", err)
	if err := e.renew(ctx, py, at, made); err != nil {
		return nil, err
	}
	if p, err = e.spawn(ctx, py, at, model); err != nil && ctx.Err() == nil {
		return nil, fault.New(fault.Unavailable, "PYTHON_BROKEN",
			"Python does not start: look into the log of the server, and check the installation of %s.", py.path).Because(err)
	}
	return p, err
}

// prepare makes sure that an environment is there and made for this Python.
func (e *Engine) prepare(ctx context.Context, py *interpreter, at Place) error {
	made, whole := e.look(at)
	if version, err := envVersion(at.Env); whole && err == nil && release(version) == py.release() {
		if _, err := os.Stat(envPython(at.Env)); err == nil {
			return nil
		}
	}
	return e.renew(ctx, py, at, made)
}

// envVersion is the version of Python that an environment was made for.
func envVersion(env string) (string, error) {
	text, err := os.ReadFile(filepath.Join(env, "pyvenv.cfg"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(name) {
		case "version", "version_info":
			return strings.TrimSpace(value), nil
		}
	}
	return "", errors.New("kernel: pyvenv.cfg names no version")
}

// renew makes an environment, and puts the packages that it had back into it.
// One that was made since made was looked up is left as it is: others use it.
func (e *Engine) renew(ctx context.Context, py *interpreter, at Place, made int) error {
	free, err := e.lockEnv(ctx, at)
	if err != nil {
		return err
	}
	if now, _ := e.look(at); now != made {
		free()
		return nil
	}
	packages := remembered(at.Env)
	e.changeEnv(at, func(v *environment) { v.making = true })
	err = e.makeEnv(ctx, py, at)
	e.changeEnv(at, func(v *environment) {
		if v.making = false; err == nil {
			v.made++
		}
	})
	free()
	if err != nil || len(packages) == 0 {
		return err
	}
	if text, ok := e.install(ctx, at, packages); !ok {
		e.opt.Log.Warn("packages of a scratchpad could not be installed again", "packages", packages, "output", text)
	}
	return nil
}

// makeEnv tries the ways to make an environment in turn.
func (e *Engine) makeEnv(ctx context.Context, py *interpreter, at Place) error {
	bare := []string{py.path, "-I", "-m", "venv", "--system-site-packages", "--without-pip", at.Env}
	ways := [][]string{bare}
	if !py.pip { // one of its own, where Python can bring it along
		ways = [][]string{slices.Delete(slices.Clone(bare), 5, 6), bare}
	}
	if uv := e.lookup("uv"); uv != "" {
		ways = append(ways, []string{uv, "venv", "--quiet", "--system-site-packages", "--python", py.path, "--", at.Env})
	}
	var failed []error
	for _, way := range ways {
		if err := removeEnv(at); err != nil {
			return err
		}
		printed, code, err := e.capture(ctx, py, way, e.opt.Dir, e.environ(Place{}))
		if err != nil {
			return err
		}
		if _, missing := os.Stat(envPython(at.Env)); code == 0 && missing == nil {
			return addPip(at.Env)
		}
		failed = append(failed, fmt.Errorf("%s: exit code %d: %s", strings.Join(way, " "), code, printed))
	}
	return fault.New(fault.Unavailable, "PYTHON_BROKEN",
		"Python cannot make a virtual environment: install its venv module (such as: apt install python3-venv).").Because(errors.Join(failed...))
}

// addPip gives an environment the commands that code calls to install packages:
// those of the system would install them elsewhere.
func addPip(env string) error {
	for _, name := range []string{"pip", "pip3"} {
		f, err := os.OpenFile(filepath.Join(env, "bin", name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			_, err = f.WriteString("#!/bin/sh\nexec \"${0%/*}/python\" -m pip \"$@\"\n")
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return fmt.Errorf("kernel: add pip: %w", err)
		}
	}
	return nil
}

// passed are the variables of our own environment that children get.
var passed = []string{"HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
	"PIP_INDEX_URL", "PIP_CERT", "UV_INDEX_URL", "UV_DEFAULT_INDEX",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"PYENV_ROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}

// environ is the environment of a child. Nothing that is not named above gets into it.
func (e *Engine) environ(at Place) []string {
	path, _ := e.opt.Getenv("PATH")
	env := []string{"PYTHONUTF8=1", "MPLBACKEND=agg"}
	if at.Env != "" {
		path = filepath.Join(at.Env, "bin") + string(os.PathListSeparator) + path
		env = append(env, "VIRTUAL_ENV="+at.Env)
	}
	env = append(env, "PATH="+path)
	for _, name := range passed {
		if v, ok := e.opt.Getenv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
