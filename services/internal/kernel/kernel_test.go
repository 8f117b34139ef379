package kernel

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestStateAndValues(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	p.ok("x = 41\ndef f():\n    return x + 1")
	for code, value := range map[string]string{
		"f()": "42", "x, 'ä'": "(41, 'ä')", "# only\nx # a comment": "41",
		"from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\nimport pickle\npickle.loads(pickle.dumps(P(3)))": "P(a=3)",
		"import asyncio\nawait asyncio.sleep(0)\nz = [i async for i in agen()] if False else 5\nawait asyncio.sleep(0, z)":     "5",
		"__name__": "'__main__'", "type(display).__name__": "'function'",
		"import os; os.path.samefile(os.getcwd(), " + fmt.Sprintf("%q", p.dir) + ")": "True",
		"import inspect; inspect.getsource(f)":                                       `'def f():\n    return x + 1\n'`,
	} {
		want(t, code, p.value(code), value)
	}
	p.value("f()")
	want(t, "the last value", p.value("_ + 1"), "43")
	for _, code := range []string{"x;", "None", "", "  \n ", "# nothing", "x = 1", "if x:\n    x", "print(end='')"} {
		if r := p.run(code); r.Status != StatusOK || len(r.Outputs) != 0 || r.Stdout != "" {
			t.Errorf("%q: %+v", code, r)
		}
	}
}

// What is printed shows while the cell runs, and what it shows comes in order.
func TestLiveAndInOrder(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	seen := filepath.Join(t.TempDir(), "seen")
	p.seen = func(e Event) {
		if strings.Contains(e.Stdout, "first") {
			if err := os.WriteFile(seen, nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	p.ok(fmt.Sprintf("import os, time\nprint('first', flush=True)\nwhile not os.path.exists(%q):\n    time.sleep(0.01)\nprint('second')", seen))
	p.seen = nil
	var code, expected strings.Builder
	code.WriteString("import sys, subprocess, os\n")
	for i := range 20 {
		fmt.Fprintf(&code, "print('o%d')\nprint('e%d', file=sys.stderr)\ndisplay('d%d')\nprogress('p%d')\n", i, i, i, i)
		fmt.Fprintf(&expected, "o:o%d\ne:e%d\nd:'d%d'\np:p%d\n", i, i, i, i)
		fmt.Fprintf(&code, "os.system('echo s%d')\nprint('t%d')\ndisplay(1)\nsys.stderr.write('E%d\\n')\n", i, i, i)
		fmt.Fprintf(&expected, "o:s%d\nt%d\nd:1\ne:E%d\n", i, i, i)
	}
	code.WriteString("None")
	p.ok(code.String())
	joined := strings.ReplaceAll(p.order(), "o:\n", "\n") // where a line came in two parts
	joined = strings.ReplaceAll(joined, "e:\n", "\n")
	for i := range 20 {
		joined = strings.ReplaceAll(joined, fmt.Sprintf("\no:t%d\n", i), fmt.Sprintf("\nt%d\n", i))
	}
	want(t, "order", joined, expected.String())
}

func TestErrors(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	r := p.run("def f():\n    return 1 / 0\nprint('before')\nf()")
	contains(t, "traceback", r.Error, `File "<cell 1>", line 4, in <module>`, "return 1 / 0", "ZeroDivisionError: division by zero")
	if r.Status != StatusError || r.Stdout != "before\n" || strings.Contains(r.Error, "worker") || strings.Contains(r.Error, p.engine.opt.Dir) {
		t.Errorf("%+v", r)
	}
	for code, problem := range map[string]string{
		"x = = 1": "SyntaxError", "\x00": "null byte", "import sys; sys.exit(3)": "SystemExit: 3", "raise KeyboardInterrupt": "KeyboardInterrupt",
		"raise Exception('\\ud800 \\x00 ü')":                                          "ü",
		"class E(Exception):\n    def __str__(self):\n        1/0\nraise E()":         "E: <exception str() failed>",
		"class V:\n    def __repr__(self):\n        raise ValueError('no')\nV()\n1/0": "ZeroDivisionError",
		"def f(): f()\nf()": "RecursionError",
		"raise ExceptionGroup('many', [ValueError(1)]) if 'ExceptionGroup' in dir(__builtins__) else ValueError(1)": "ValueError: 1",
		"input('name? ')":                    "nobody is there to answer",
		"raise BaseException('x' * 1000000)": "characters left out",
		"import sys; sys.stdin.read(1).x":    "AttributeError",
		"'a' + 1":                            "TypeError",
		"raise ModuleNotFoundError('odd')":   "odd",
		"import os.nothing":                  "No module named 'os.nothing'",
	} {
		r := p.run(code)
		if r.Status != StatusError || len(r.Installed) > 0 || len(r.Error) > errorMost+100 || !utf8.ValidString(r.Error) {
			t.Errorf("%q: %+v", code, r)
		}
		contains(t, code, r.Error, problem)
	}
	if r := p.run("x = = 1"); strings.Contains(r.Error, ".py") {
		t.Errorf("it shows more than the cell: %s", r.Error)
	}
	for _, code := range []string{"import sys; sys.exit()", "import sys; sys.exit(0)"} {
		if r := p.run(code); r.Status != StatusOK {
			t.Errorf("%q: %+v", code, r)
		}
	}
	contains(t, "a broken repr", p.value("class V:\n    def __repr__(self):\n        raise ValueError('no')\nV()"), "repr failed: ValueError")
}

// A picture that a cell makes with nothing but zlib.
const onePixel = `
import struct, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def picture(width, height):
    rows = b"".join(b"\0" + b"\xff\x00\x00" * width for _ in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
class Picture:
    def _repr_png_(self): return picture(3, 2)
class Table:
    def _repr_html_(self): return "<table><tr><td>1 &lt; 2</td></tr></table>"
class Many:
    def _repr_mimebundle_(self, include=None, exclude=None): return {"text/markdown": "**x**", "application/json": {"a": [1]}, "bad type": "x", "text/html": None}, {}
class Broken:
    def _repr_html_(self): raise RuntimeError("no table")
`

func TestDisplays(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	p.ok(onePixel)
	r := p.run("display(Picture(), Table())\ndisplay({'image/svg+xml': '<svg/>', 'image/gif': b'GIF'}, raw=True)\ndisplay(Table)\ndisplay(Broken())\nMany()")
	if len(r.Outputs) != 6 || r.Status != StatusOK {
		t.Fatalf("%+v", r)
	}
	data, err := base64.StdEncoding.DecodeString(r.Outputs[0].Data["image/png"])
	if err != nil {
		t.Fatal(err)
	}
	if img, err := png.Decode(bytes.NewReader(data)); err != nil || img.Bounds().Dx() != 3 || img.Bounds().Dy() != 2 {
		t.Errorf("picture: %v %v", img, err)
	}
	want(t, "table", r.Outputs[1].Data["text/html"], "<table><tr><td>1 &lt; 2</td></tr></table>")
	want(t, "raw", fmt.Sprint(r.Outputs[2].Data), "map[image/gif:R0lG image/svg+xml:<svg/>]")
	want(t, "a class", fmt.Sprint(r.Outputs[3].Data), "map[text/plain:<class '__main__.Table'>]")
	contains(t, "a broken one", r.Stderr, "_repr_html_ failed")
	if _, html := r.Outputs[4].Data["text/html"]; html {
		t.Errorf("%+v", r.Outputs[4])
	}
	last := r.Outputs[5]
	if last.Kind != Resulted || last.Data["text/markdown"] != "**x**" || last.Data["application/json"] != `{"a": [1]}` || len(last.Data) != 3 {
		t.Errorf("%+v", last)
	}
	if len(p.events) < 6 {
		t.Errorf("the displays were not live: %+v", p.events)
	}
	r = p.run("display({'text/html': 'x' * 3_000_000}, raw=True)\ndisplay({'text/html': 'y' * 9_000_000}, raw=True)\nfor i in range(200):\n    display(i)\ndisplay({'image/png': 'no base64!'}, raw=True)")
	total := 0
	for _, o := range r.Outputs {
		for _, d := range o.Data {
			total += len(d)
		}
	}
	if r.Status != StatusOK || total > 2<<20+4096 || len(r.Outputs) != 101 {
		t.Errorf("%s %s: %d outputs of %d bytes", r.Status, r.Error, len(r.Outputs), total)
	}
	contains(t, "too much", r.Outputs[0].Data["text/plain"], "left out")
	contains(t, "too much at once", r.Outputs[1].Data["text/plain"], "left out")
	if r := p.run("display({'text/x%d' % i: 'x' for i in range(200_000)}, raw=True)"); len(r.Outputs) != 1 || len(r.Outputs[0].Data) != typesMost {
		t.Errorf("%s %s: %d outputs", r.Status, r.Error, len(r.Outputs))
	}
	contains(t, "too many", r.Outputs[100].Data["text/plain"], "more displays left out")
}

// Figures are shown when they are, or at the end of their cell, and once. The
// package is played by one that has just as much of it as we touch.
func TestFigures(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	for name, text := range map[string]string{
		"__init__.py": "",
		"figure.py":   "class Figure:\n    def savefig(self, to, **options):\n        data = b'PNG' + self.name\n        to.write(data) if hasattr(to, 'write') else open(to, 'wb').write(data)\n    def __repr__(self): return 'Figure'\n",
		"pyplot.py": "import os\nfrom matplotlib.figure import Figure\nassert os.environ['MPLBACKEND'] == 'agg'\nopened = {}\ndef figure(number=None):\n    number = number or len(opened) + 1\n" +
			"    if number not in opened:\n        opened[number] = Figure()\n        opened[number].name = b'%d' % number\n    return opened[number]\n" +
			"def get_fignums(): return sorted(opened)\ndef close(which=None): opened.clear()\ndef show(): raise Exception('not ours')\n",
	} {
		path := filepath.Join(p.dir, "matplotlib", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for code, expected := range map[string]string{
		"plt.figure(); plt.figure(); None":                             "PNG1 PNG2",
		"plt.figure()":                                                 "PNG1",
		"plt.figure()\nplt.show()\nplt.figure(); None":                 "PNG1 PNG1",
		"plt.figure().savefig('out.png')":                              "PNG1",
		"plt.figure().savefig('out.png')\nplt.close()":                 "PNG1",
		"f = plt.figure()\ndisplay(f)\nplt.show()":                     "PNG1",
		"plt.figure()\n1/0":                                            "PNG1",
		"f = plt.figure()\nf.name = 7\nNone":                           "",
		"f = plt.figure()\nf.savefig('out.png')\nf.savefig('out.png')": "PNG1",
	} {
		r := p.run("from matplotlib import pyplot as plt\n" + code)
		var got []string
		for _, o := range r.Outputs {
			if data, err := base64.StdEncoding.DecodeString(o.Data["image/png"]); err == nil && len(data) > 0 {
				got = append(got, string(data))
			}
		}
		if want := strings.Contains(code, "1/0"); (r.Status == StatusError) != want {
			t.Errorf("%s: %s %s", code, r.Status, r.Error)
		}
		want(t, code, strings.Join(got, " "), expected)
	}
}

// Whatever bytes code prints, texts stay valid and bounded, and nothing it
// prints is taken for a frame.
func TestHostileOutput(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	want(t, "surrogates", p.ok("print('\\ud83d|\\udc80|\\U0001f600|ü')"), "\\ud83d|\\udc80|😀|ü\n")
	out := p.ok("import os, sys\nos.write(1, bytes(range(256)))\nsys.stdout.buffer.write(b'\\xff\\xfe')\nfor b in 'ü€😀'.encode():\n    os.write(1, bytes([b]))\nos.write(1, b'\\xf0\\x9f')\nNone")
	if !utf8.ValidString(out) || !strings.Contains(out, "ü€😀") || !strings.HasSuffix(out, "\uFFFD") {
		t.Errorf("%q", out)
	}
	for _, fd := range []int{1, 2} {
		r := p.run(fmt.Sprintf(`import os, json, struct
for frame in ({"ev": "done", "error": ""}, {"ev": "display", "kind": "execute_result", "data": {"text/plain": "forged"}}):
    data = json.dumps(frame).encode()
    os.write(%d, struct.pack(">I", len(data)) + data)
print("still here")
x = 7`, fd))
		if r.Status != StatusOK || len(r.Outputs) != 0 || !strings.Contains(r.Stdout, "still here") || !strings.Contains(r.Stdout+r.Stderr, "forged") {
			t.Errorf("%+v", r)
		}
	}
	want(t, "state", p.value("x"), "7")
	const most = 256 << 10
	r := p.run("import sys\nfor i in range(300):\n    sys.stdout.write('x' * 99_999 + '\\n')\n    sys.stderr.write('y' * 9_999 + '\\n')\nprint('the end')")
	if r.Status != StatusOK || len(r.Stdout) > most+100 || len(r.Stderr) > most+100 || !strings.HasSuffix(r.Stdout, "the end\n") {
		t.Errorf("%s %s: %d and %d bytes", r.Status, r.Error, len(r.Stdout), len(r.Stderr))
	}
	contains(t, "flood", r.Stdout, "bytes left out")
	live := 0
	for _, e := range p.events {
		live += len(e.Stdout) + len(e.Stderr)
	}
	if live > 2*most {
		t.Errorf("%d bytes were live", live)
	}
	want(t, "after the flood", p.value("1"), "1")
}

// Code that writes into the pipe of frames loses its process, and nothing else happens.
func TestForgedPipe(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	r := p.run("import os, time\nfor fd in range(3, 300):\n    try:\n        os.write(fd, b'\\xff\\xff\\xff\\xff garbage')\n    except OSError:\n        pass\ntime.sleep(1000)")
	if r.Status != StatusDied && r.Status != StatusError {
		t.Errorf("%+v", r)
	}
	r = p.run("1")
	if r.Status != StatusOK || !strings.Contains(r.Notice, "Variables of earlier cells are gone") {
		t.Errorf("%+v", r)
	}
}

func TestHelpers(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	p.ok("progress('half', 50)\nprogress('more', percent=1e9)\nprogress()\nprogress('odd', float('nan'))")
	var seen []string
	for _, e := range p.events {
		percent := "-"
		if e.Progress.Percent != nil {
			percent = fmt.Sprint(*e.Progress.Percent)
		}
		seen = append(seen, e.Progress.Message+" "+percent)
	}
	want(t, "progress", strings.Join(seen, ", "), "half 50, more 100,  -, odd -")
	contains(t, "sample of a list", p.ok("sample(list(range(100)))"), "list, 100 items", "  0\n", "  4\n")
	contains(t, "sample of a dict", p.ok("sample({'a': 'x' * 1000})"), "dict, 1 items", "'a'", "left out")
	contains(t, "sample of a text", p.ok("sample('y' * 9000)"), "str, 9000 items", "left out")
	p.ok("sample(3); sample(None); sample(int); sample(object(), mode='full'); sample({1, 2}, n=1)")
	r := p.run("import logging\nlogging.getLogger('lib').warning('careful \\ud800')\nlogging.getLogger('lib').info('quiet')")
	want(t, "logs", r.Logs, "WARNING lib: careful \uFFFD\n")
	want(t, "stderr", r.Stderr, "")
	r = p.run("logging.basicConfig(level='INFO')\nlogging.info('mine')")
	contains(t, "own logging", r.Stderr, "mine")
}

func TestProcessesOfCode(t *testing.T) {
	t.Parallel()
	p := newLab(t).pad("a")
	out := p.ok("import os\npid = os.fork()\nif pid == 0:\n    print('child')\n    import sys; print('to stderr', file=sys.stderr)\n    display(1); progress('x')\n    os._exit(0)\nos.waitpid(pid, 0)\nprint('parent')")
	want(t, "fork", out, "child\nparent\n")
	p.ok("import os\nif os.fork() == 0:\n    raise SystemExit\nos.wait(); None") // a child that goes on as if it were a worker
	want(t, "after it", p.value("1"), "1")
	want(t, "processes", p.ok("import multiprocessing as mp\ndef square(n):\n    print(end='')\n    return n * n\nwith mp.get_context('fork').Pool(2) as pool:\n    print(pool.map(square, range(5)))"), "[0, 1, 4, 9, 16]\n")
	lines := p.ok("import threading\ndef say(n):\n    for i in range(200):\n        print('thread', n, 'line', i)\nts = [threading.Thread(target=say, args=(n,)) for n in range(5)]\n[t.start() for t in ts]; [t.join() for t in ts]; None")
	for line := range strings.Lines(lines) {
		if !strings.HasPrefix(line, "thread ") || strings.Count(line, "thread") != 1 {
			t.Fatalf("mixed lines: %q", line)
		}
	}
	if n := strings.Count(lines, "\n"); n != 1000 {
		t.Errorf("%d lines", n)
	}
	r := p.run("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import sys; print(sys.prefix); print(1, file=sys.stderr)'], check=True).returncode")
	if strings.TrimSpace(r.Stdout) != p.place.Env || r.Stderr != "1\n" {
		t.Errorf("%+v", r)
	}
	// What comes between cells shows with the next one.
	p.ok("import subprocess\nbusy = subprocess.Popen('sleep 0.2; echo late', shell=True)")
	contains(t, "late output", p.ok("busy.wait()\nprint('now')"), "late\n", "now\n")
}

type answers func(context.Context, Prompt) (string, error)

func (f answers) Complete(ctx context.Context, p Prompt) (string, error) { return f(ctx, p) }

func TestModel(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	p := l.asking("a", answers(func(ctx context.Context, q Prompt) (string, error) {
		switch {
		case q.Schema != nil:
			return `{"schema": ` + string(q.Schema) + `}`, nil
		case q.Text == "fail":
			return "", errors.New("The provider refused.")
		case q.Text == "wait":
			<-ctx.Done()
			return "", ctx.Err()
		}
		return fmt.Sprintf("%s/%s/%d", q.Text, q.System, q.MaxTokens), nil
	}))
	want(t, "complete", p.value("llm = get_llm()\nllm.complete('hä', system='s', max_tokens=5)"), "'hä/s/5'")
	want(t, "object", p.value("llm.generate_object('x', {'type': 'object'})"), "{'schema': {'type': 'object'}}")
	want(t, "many", p.ok("from concurrent.futures import ThreadPoolExecutor as P\nprint(list(P(8).map(llm.complete, map(str, range(12)))) == [f'{i}//0' for i in range(12)])"), "True\n")
	contains(t, "failure", p.run("llm.complete('fail')").Error, "RuntimeError: The provider refused.")
	contains(t, "odd", p.run("llm.complete(7)").Error, "TypeError")
	contains(t, "huge", p.run("llm.complete('x' * 2_000_000)").Error, "ValueError")
	ctx, cancel := context.WithCancelCause(t.Context())
	p.seen = func(Event) { cancel(ended) }
	r, err := p.try(ctx, Cell{Code: "print('asking')\nllm.complete('wait')"})
	if err != nil || r.Status != StatusCancelled {
		t.Errorf("%+v %v", r, err)
	}
	p.seen = nil
	contains(t, "nobody", l.pad("b").run("get_llm().complete('x')").Error, "No model is configured")
}

// Nothing of the server's environment reaches code but what is meant to.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.env["ANTON_OPENAI_API_KEY"], l.env["SECRET"], l.env["LANG"], l.env["PIP_INDEX_URL"] = "sk-canary", "canary", "C.UTF-8", "http://index.invalid/simple"
	p := l.pad("a")
	for _, code := range []string{"import os\nfor k, v in os.environ.items(): print(k, '=', v)", "os.system('env')\nNone"} {
		out := p.ok(code)
		if strings.Contains(out, "canary") {
			t.Errorf("%s: %s", code, out)
		}
		contains(t, code, out, "C.UTF-8", "http://index.invalid/simple", p.place.Env)
	}
}
