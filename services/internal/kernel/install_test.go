package kernel

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// wheel is a package with one module of that text.
func wheel(t *testing.T, name, module, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	info := name + "-1.0.dist-info/"
	var record strings.Builder
	for _, f := range [][2]string{{module + ".py", text}, {info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}} {
		w, err := z.Create(f[0])
		if err == nil {
			_, err = w.Write([]byte(f[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(f[1]))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", f[0], base64.RawURLEncoding.EncodeToString(sum[:]), len(f[1]))
	}
	w, err := z.Create(info + "RECORD")
	if err == nil {
		_, err = w.Write([]byte(record.String() + info + "RECORD,,\n"))
	}
	if err := firstOf(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func firstOf(list ...error) error {
	for _, err := range list {
		if err != nil {
			return err
		}
	}
	return nil
}

// index is a package index with some packages, which notes what it is asked for.
type index struct {
	url    string
	mu     sync.Mutex
	asked  []string
	slowly chan struct{} // when it closes the answers come; nil: at once
}

func newIndex(t *testing.T) *index {
	x := &index{}
	wheels := map[string][]byte{}
	for name, module := range map[string]string{"anthill_one": "anthill_one", "anthill_two": "anthill_two", "anthill_three": "anthill_three"} {
		wheels[name] = wheel(t, name, module, "def answer():\n    return 42\n")
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.ReplaceAll(strings.Trim(strings.TrimPrefix(r.URL.Path, "/simple/"), "/"), "-", "_")
		if file, ok := strings.CutPrefix(r.URL.Path, "/files/"); ok {
			name, _, _ = strings.Cut(file, "-")
			_, _ = w.Write(wheels[name]) // pip tells if it fails
			return
		}
		x.mu.Lock()
		x.asked = append(x.asked, name)
		slowly := x.slowly
		x.mu.Unlock()
		if slowly != nil {
			select {
			case <-slowly:
			case <-r.Context().Done():
			}
		}
		if wheels[name] == nil {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `<html><body><a href="/files/%s-1.0-py3-none-any.whl">%s-1.0-py3-none-any.whl</a></body></html>`, name, name)
	}))
	t.Cleanup(srv.Close)
	x.url = srv.URL + "/simple"
	return x
}

func TestAutoInstall(t *testing.T) {
	t.Parallel()
	l, x := newLab(t), newIndex(t)
	l.env["PIP_INDEX_URL"] = x.url
	p := l.pad("a")
	p.ok("n = 0")
	r := p.run("n += 1\nprint('run', n)\nimport anthill_one\nimport anthill_two as two, json\nanthill_one.answer() + two.answer()")
	if r.Status != StatusOK || r.Stdout != "run 2\n" || r.Outputs[0].Data["text/plain"] != "84" || !slices.Equal(r.Installed, []string{"anthill_one", "anthill_two"}) {
		t.Errorf("%+v", r)
	}
	contains(t, "progress", p.order(), "Installing anthill_one, anthill_two", "running the cell again")
	if r := p.run("def f():\n    import anthill_nowhere.deep\nf()"); r.Status != StatusError {
		t.Errorf("%+v", r)
	} else {
		contains(t, "failure", r.Error, "No module named 'anthill_nowhere'", "anthill_nowhere could not be installed", "No matching distribution")
	}
	x.mu.Lock()
	x.asked = nil
	x.mu.Unlock()
	for _, code := range []string{"import anthill_one.nothing", "raise ModuleNotFoundError('x', name='--option')", "raise ModuleNotFoundError('x', name='_tkinter')",
		"raise ModuleNotFoundError('x', name='../../up')", "raise ModuleNotFoundError('x', name='http://x')"} {
		if r := p.run(code); r.Status != StatusError || len(r.Installed) > 0 {
			t.Errorf("%s: %+v", code, r)
		}
	}
	if len(x.asked) > 0 {
		t.Errorf("the index was asked for %q", x.asked)
	}
	// Code that installs by itself installs here as well.
	p.ok("import subprocess\nsubprocess.run(['pip', 'install', '-q', 'anthill_three'], check=True)\nimport anthill_three; None")
	if _, err := os.Stat(filepath.Join(p.place.Env, "lib")); err != nil {
		t.Error(err)
	}
	// The packages stay when the environment has to be made anew.
	if err := p.kernel.Stop(t.Context(), ended); err != nil {
		t.Fatal(err)
	}
	if got := remembered(p.place.Env); !slices.Equal(got, []string{"anthill_one", "anthill_two"}) {
		t.Errorf("remembered %q", got)
	}
	if err := os.WriteFile(filepath.Join(p.place.Env, "pyvenv.cfg"), []byte("version = 2.7.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, "made anew", p.value("import anthill_one; anthill_one.answer()"), "42")
	if err := firstOf(p.kernel.Stop(t.Context(), ended), l.engine.Remove(t.Context(), p.place)); err != nil {
		t.Fatal(err)
	}
	want(t, "a new environment", p.run("import os, sys; os.path.exists(sys.prefix + '/requirements.txt')").Outputs[0].Data["text/plain"], "False")
}

func TestInstall(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	l := newLab(t, func(o *Options) { o.Times = Times{Install: 100 * time.Second} })
	l.env["PIP_INDEX_URL"] = x.url
	p := l.pad("a")
	install := func(ctx context.Context, packages ...string) (string, bool) {
		t.Helper()
		text, ok, err := p.kernel.Install(ctx, p.place, packages)
		if err != nil {
			t.Fatal(err)
		}
		return text, ok
	}
	text, ok := install(t.Context(), "anthill_one==1.0")
	if !ok || !strings.HasPrefix(text, "Successfully installed anthill") {
		t.Errorf("%v %s", ok, text)
	}
	if p.kernel.Live() {
		t.Error("installing needs no process")
	}
	text, ok = install(t.Context(), "anthill_one", "anthill_nowhere>=3")
	if ok || !strings.Contains(text, "anthill_nowhere") {
		t.Errorf("%v %s", ok, text)
	}
	r := p.cell(Cell{Code: "import anthill_two\nanthill_two.answer()", Packages: []string{"anthill_two"}})
	if r.Status != StatusOK || !slices.Equal(r.Installed, []string{"anthill_two"}) {
		t.Errorf("%+v", r)
	}
	if r := p.cell(Cell{Code: "print('ran')", Packages: []string{"anthill_nowhere"}}); r.Status != StatusError || r.Stdout != "" || !strings.Contains(r.Error, "could not be installed") {
		t.Errorf("%+v", r)
	}
	// Cancelled while it waits for the index, with what it runs.
	x.mu.Lock()
	x.slowly = make(chan struct{})
	x.mu.Unlock()
	defer close(x.slowly)
	ctx, cancel := context.WithCancelCause(t.Context())
	p.seen = func(Event) { cancel(ended) }
	r, err := p.try(ctx, Cell{Code: "import anthill_three"})
	if err != nil || r.Status != StatusCancelled || r.Error != ended.Text {
		t.Errorf("%+v %v", r, err)
	}
}

func TestInstallTakesTooLong(t *testing.T) {
	t.Parallel()
	x := newIndex(t)
	x.slowly = make(chan struct{})
	defer close(x.slowly)
	l := newLab(t, func(o *Options) { o.Times = Times{Install: 3 * time.Second, Total: time.Second} })
	l.env["PIP_INDEX_URL"] = x.url
	r := l.pad("a").run("import anthill_one")
	contains(t, "error", r.Error, "took longer than 3 s", "No module named 'anthill_one'")
}

func TestValidPackage(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"numpy", "scikit-learn", "ruamel.yaml", "a", "uvicorn[standard]", "x[a,b-c]", "numpy==1.26.4", "numpy>=1,<2", "a ~= 1.0", "a===1!2.0+local_3", "a!=1.*"} {
		if !ValidPackage(good) {
			t.Errorf("%q is refused", good)
		}
	}
	for _, bad := range []string{"", "-r", "--index-url=http://x", "-e .", ".", "..", "./x", "/etc", "a/b", "http://x/y.whl", "git+https://x", "a @ http://x", "a;b", "a b", "a\nb", "a\x00", "a==", "==1",
		"$(id)", "`id`", "a --option", "a==1 --option", "a[", "a]", "ä", "file:x", "x.whl ", strings.Repeat("a", 201), "a==1;python_version<'3'"} {
		if ValidPackage(bad) {
			t.Errorf("%q is taken", bad)
		}
	}
	if got := packagesOf([]string{"sklearn", "cv2", "bs4", "yaml", "PIL", "numpy", "numpy", "-x"}); !slices.Equal(got,
		[]string{"scikit-learn", "opencv-python-headless", "beautifulsoup4", "PyYAML", "Pillow", "numpy"}) {
		t.Errorf("%q", got)
	}
	for module, name := range packageNames {
		if !ValidPackage(name) || module == name {
			t.Errorf("%s %s", module, name)
		}
	}
	dir := t.TempDir()
	for _, list := range [][]string{{"a==1", "b"}, {"A>=2", "c[x]"}, {"C"}} {
		if err := remember(dir, list); err != nil {
			t.Fatal(err)
		}
	}
	if got := remembered(dir); !slices.Equal(got, []string{"b", "A>=2", "C"}) {
		t.Errorf("%q", got)
	}
}

// program writes a script that plays a program.
func program(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestNoPython(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	l := newLab(t)
	l.env["PATH"] = bin
	p := l.pad("a")
	attempt := func(expected string) {
		t.Helper()
		_, err := p.try(t.Context(), Cell{Code: "1"})
		if !isFault(err, "PYTHON_MISSING") || !strings.Contains(err.Error(), expected) || !strings.Contains(err.Error(), "apt install python3") {
			t.Errorf("%v", err)
		}
		if _, _, err := p.kernel.Install(t.Context(), p.place, []string{"x"}); !isFault(err, "PYTHON_MISSING") {
			t.Errorf("%v", err)
		}
		if _, err := p.kernel.Start(t.Context(), p.place); !isFault(err, "PYTHON_MISSING") {
			t.Errorf("%v", err)
		}
	}
	attempt("there is no python3")
	program(t, bin, "python3", "exit 1\n")
	attempt("does not work")
	program(t, bin, "python3", "echo /usr/bin/old; echo 3.8.1; echo 1; echo 0\n")
	attempt("is Python 3.8.1")
	l.env["PATH"] = os.Getenv("PATH")
	version, err := p.kernel.Start(t.Context(), p.place)
	if err != nil || !strings.HasPrefix(version, "3.") {
		t.Errorf("%q %v", version, err)
	}
}

// An environment that somebody broke is made anew.
func TestBrokenEnvironment(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.pad("a")
	p.ok("x = 1")
	for _, spoil := range []func() error{
		func() error { return os.Remove(envPython(p.place.Env)) },
		func() error { return os.Remove(filepath.Join(p.place.Env, "pyvenv.cfg")) },
		func() error {
			return firstOf(os.Remove(envPython(p.place.Env)), os.WriteFile(envPython(p.place.Env), []byte("#!/bin/sh\necho broken >&2\nexit 3\n"), 0o700))
		},
		func() error {
			return firstOf(os.RemoveAll(p.place.Env), os.WriteFile(p.place.Env, []byte("a file"), 0o600))
		},
		func() error {
			return firstOf(os.RemoveAll(filepath.Join(p.dir, ".anton")))
		},
	} {
		if err := p.kernel.Stop(t.Context(), ended); err != nil {
			t.Fatal(err)
		}
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		want(t, "prefix", p.value("import sys; sys.prefix"), fmt.Sprintf("'%s'", p.place.Env))
	}
	// Removing it follows no link out of the folder.
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.kernel.Stop(t.Context(), ended); err != nil {
		t.Fatal(err)
	}
	if err := firstOf(os.RemoveAll(p.place.Env), os.Symlink(outside, p.place.Env), l.engine.Remove(t.Context(), p.place)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(outside, "kept")); err != nil {
		t.Error(err)
	}
}

// Kernels that share an environment and begin at once make it once: nobody loses
// the one that it runs in, nor what was put there.
func TestSharedEnvironment(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	const most = 5 // of an engine
	var wg sync.WaitGroup
	for i := range most {
		wg.Go(func() {
			p := l.pad("shared")
			code := fmt.Sprintf("import sys; open(sys.prefix + '/mark-%d', 'x').close()", i)
			if r, err := p.try(t.Context(), Cell{Code: code}); err != nil || r.Status != StatusOK {
				t.Errorf("%+v %v", r, err)
			}
		})
	}
	wg.Wait()
	marks, err := filepath.Glob(filepath.Join(l.at("shared").Env, "mark-*"))
	if err != nil || len(marks) != most {
		t.Errorf("%q %v", marks, err)
	}
}

// With uv on the PATH it does the installing.
func TestUv(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	program(t, bin, "uv", `printf '%s\n' "$@" > "$HOME/uv-was-told"`+"\n")
	l := newLab(t)
	l.env["PATH"] += string(os.PathListSeparator) + bin
	l.env["HOME"] = t.TempDir()
	l.env["PYENV_ROOT"] = os.Getenv("PYENV_ROOT")
	p := l.pad("a")
	text, ok, err := p.kernel.Install(t.Context(), p.place, []string{"one", "two==2"})
	if err != nil || !ok || text != "Installed: one, two==2" {
		t.Errorf("%s %v %v", text, ok, err)
	}
	told, err := os.ReadFile(filepath.Join(l.env["HOME"], "uv-was-told"))
	if err != nil || string(told) != "pip\ninstall\n--no-progress\n--color\nnever\n--python\n"+envPython(p.place.Env)+"\n--\none\ntwo==2\n" {
		t.Errorf("%q %v", told, err)
	}
}

// When the folder of a project has another name, its process is started there.
func TestMoved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	dir := filepath.Join(l.dir, "old")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p := l.pad("a")
	p.place = Place{Dir: dir, Env: filepath.Join(dir, "env")}
	p.ok("x = 1")
	if err := os.Rename(dir, filepath.Join(l.dir, "new")); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(l.dir, "new")
	p.place = Place{Dir: dir, Env: filepath.Join(dir, "env")}
	r := p.run("import os, sys; os.getcwd(), sys.prefix")
	if r.Status != StatusOK || !strings.Contains(r.Notice, "moved") || r.Outputs[0].Data["text/plain"] != fmt.Sprintf("('%s', '%s/env')", dir, dir) {
		t.Errorf("%+v", r)
	}
}
