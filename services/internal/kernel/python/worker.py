"""The Python side of a scratchpad: runs cells and tells the server what they do.

    worker.py REQUESTS EVENTS

Frames travel over two pipes of their own: four bytes of length, then JSON. What
cells print goes to the process's own stdout and stderr, which the server reads
as well, so nothing that is printed can pass for a frame.
"""
import ast
import base64
import builtins
import importlib
import importlib.util
import itertools
import json
import linecache
import logging
import math
import os
import queue
import re
import signal
import struct
import sys
import threading
import time
import traceback
import types
from inspect import CO_COROUTINE
from io import RawIOBase, TextIOBase, UnsupportedOperation

OUTPUT_MAX = 4 << 20  # characters in one display
TYPES_MAX = 20  # representations of one value
PLAIN_MAX = 100_000  # characters of a text/plain
ERROR_MAX = 20_000
PROMPT_MAX = 1 << 20

GRACE = 5  # seconds to end in, once the server is gone

own = sys.modules["__main__"]  # soon that of the cells


class Interrupts:
    """Turns SIGINT into KeyboardInterrupt: only while a cell runs, and never in
    the middle of a frame, which it would cut in two."""

    def __init__(self):
        self.running = False
        self.held = 0
        self.pending = False

    def install(self):
        signal.signal(signal.SIGINT, self.handle)

    def handle(self, signum, frame):
        if not self.running:
            return
        if self.held:
            self.pending = True
            return
        raise KeyboardInterrupt

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.held += 1

    def __exit__(self, *error):
        if threading.current_thread() is threading.main_thread():
            self.held -= 1
            if not self.held and self.pending:
                self.pending = False
                if self.running:
                    raise KeyboardInterrupt


interrupts = Interrupts()


class Link:
    """The two pipes. A process that code forked off has none."""

    def __init__(self, requests, events):
        self.requests, self.events = aside(requests), aside(events)
        self.lock = threading.Lock()
        self.ids = itertools.count(1)
        self.waiting = {}  # by id: an event and where the answer goes
        self.cells = queue.SimpleQueue()
        self.cut = False
        os.register_at_fork(after_in_child=self.forked)

    def forked(self):
        self.cut = True
        for fd in (self.requests, self.events):
            try:
                os.close(fd)
            except OSError:
                pass

    def send(self, frame):
        if self.cut:
            return
        data = json.dumps(frame).encode("ascii")
        data = memoryview(struct.pack(">I", len(data)) + data)
        with interrupts:
            with self.lock:
                while data:
                    data = data[os.write(self.events, data) :]

    def ask(self, frame, timeout=None):
        """Sends a frame and waits for the server's answer to it; None: there is none."""
        if self.cut:
            return None
        number = next(self.ids)
        arrived, answer = threading.Event(), {}
        self.waiting[number] = (arrived, answer)
        try:
            self.send(dict(frame, id=number))
            return answer if arrived.wait(timeout) else None
        finally:
            self.waiting.pop(number, None)

    def listen(self):
        """Reads requests until the server is gone, and then ends the process."""
        try:
            while True:
                request = json.loads(self.exactly(struct.unpack(">I", self.exactly(4))[0]))
                if request["op"] == "answer":
                    arrived, answer = self.waiting.get(request["id"], (None, None))
                    if arrived:
                        answer.update(request)
                        arrived.set()
                else:
                    self.cells.put(request)
        except (OSError, EOFError):
            self.cells.put({"op": "exit"})
            if interrupts.running:
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(GRACE)  # the guard is faster, as long as there is one
            os.killpg(os.getpgrp(), signal.SIGKILL)

    def exactly(self, n):
        data = b""
        while len(data) < n:
            part = os.read(self.requests, n - len(data))
            if not part:
                raise EOFError
            data += part
        return data


def aside(fd):
    """The pipe under a number that nobody meets by chance, closed on exec."""
    import fcntl

    for least in (200, 64, 10):
        try:
            moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, least)
        except OSError:
            continue
        os.close(fd)
        return moved
    return fd


class Stream(TextIOBase):
    """stdout or stderr. What the cell prints shows at once; what other threads
    print does by lines, so that they do not mix. The server reads the two one by
    one: whoever switches waits until it has read the other."""

    current = None

    def __init__(self, fd, name):
        self.fd, self.name, self.mode = fd, name, "w"
        self.buffer = Bytes(self)
        self.lines = {}  # begun by threads

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    write_through = True

    def put(self, data):
        if Stream.current is not self:
            if Stream.current is not None:
                link.ask({"ev": "sync"}, 1)
            Stream.current = self
        data = memoryview(data).cast("B")
        size = len(data)
        while data:
            data = data[os.write(self.fd, data) :]
        return size

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError("write() argument must be str, not " + type(text).__name__)
        data = text.encode("utf-8", "backslashreplace")
        if threading.current_thread() is not threading.main_thread():
            thread = threading.get_ident()
            data = self.lines.pop(thread, b"") + data
            if len(data) < 4096 and not data.endswith(b"\n"):
                self.lines[thread] = data
                return len(text)
        self.put(data)
        return len(text)

    def flush(self):
        data = self.lines.pop(threading.get_ident(), b"")
        if data:
            self.put(data)

    def flush_all(self):
        for thread in list(self.lines):
            self.put(self.lines.pop(thread, b""))

    def writable(self):
        return True

    def isatty(self):
        return False

    def fileno(self):
        return self.fd

    def reconfigure(self, **options):
        pass

    def close(self):
        pass

    def detach(self):
        raise UnsupportedOperation("detach")


class Bytes(RawIOBase):
    """What sys.stdout.buffer is."""

    def __init__(self, stream):
        self.stream, self.raw = stream, self

    def write(self, data):
        return self.stream.put(data)

    def writable(self):
        return True

    def fileno(self):
        return self.stream.fd

    def close(self):
        pass


class Logs(logging.Handler):
    """Takes the log messages that nothing else takes."""

    def emit(self, record):
        try:
            link.send({"ev": "log", "text": self.format(record)[:2000] + "\n"})
        except Exception:
            self.handleError(record)


class Beat(threading.Thread):
    """Tells the server that a quiet cell is alive."""

    def __init__(self):
        super().__init__(daemon=True, name="scratchpad-beat")
        self.every, self.on, self.off = 10.0, threading.Event(), threading.Event()

    def begin(self, every):
        self.every = every
        self.off.clear()
        self.on.set()

    def end(self):
        self.on.clear()
        self.off.set()

    def run(self):
        while True:
            self.on.wait()
            if not self.off.wait(self.every) and self.on.is_set():
                link.send({"ev": "beat"})


# What a value looks like.

REPRS = (
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("text/latex", "_repr_latex_"),
    ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("application/json", "_repr_json_"),
)
MIME = re.compile(r"[a-z]+/[A-Za-z0-9.+_-]{1,80}\Z")


def clip(text, most):
    if len(text) <= most:
        return text
    half = most // 2
    return "%s\n… [%d characters left out] …\n%s" % (text[:half], len(text) - 2 * half, text[-half:])


def plain(value):
    try:
        text = repr(value)
    except Exception as e:
        text = "<%s object whose repr failed: %s>" % (type(value).__name__, type(e).__name__)
    return clip(text if isinstance(text, str) else "<%s object>" % type(value).__name__, PLAIN_MAX)


def bundle(value):
    """The representations of a value, by MIME type."""
    found = {}
    if not isinstance(value, type):
        found = of_itself(value)
        if is_figure(value):
            found["image/png"] = attempt(figures.picture, value)
    found.setdefault("text/plain", plain(value))
    return pack(found)


def of_itself(value):
    found = {}
    make = getattr(value, "_repr_mimebundle_", None)
    if callable(make):
        made = attempt(make)
        if isinstance(made, tuple):  # with metadata
            made = made[0]
        if isinstance(made, dict):
            found.update(made)
    for mime, name in REPRS:
        make = getattr(value, name, None) if mime not in found else None
        if callable(make):
            made = attempt(make)
            if isinstance(made, tuple):
                made = made[0]
            found[mime] = made
    return found


def attempt(make, *args):
    """A representation that fails is told on stderr, and not there."""
    try:
        return make(*args)
    except Exception as e:
        sys.stderr.write("%s failed: %s\n" % (getattr(make, "__qualname__", "a representation"), plain(e)))
        return None


def pack(found):
    """Text as it is, everything else in base64; what is too large is only named."""
    out, room = {}, OUTPUT_MAX
    for mime, data in sorted(found.items(), key=lambda item: item[0] != "text/plain"):
        if data is None or len(out) == TYPES_MAX or not isinstance(mime, str) or not MIME.match(mime):
            continue
        if isinstance(data, (bytes, bytearray, memoryview)):
            data = base64.b64encode(bytes(data)).decode("ascii")
        elif not isinstance(data, str):
            data = json.dumps(data, default=str) if mime.endswith("json") else str(data)
        if len(data) > room:
            note = "[%s of %d characters left out: it is too large to show]" % (mime, len(data))
            out["text/plain"] = (out.get("text/plain", "") + "\n" + note).strip()
            continue
        room -= len(data)
        out[mime] = data
    return out


def show(value, kind):
    emit({"ev": "display", "kind": kind, "data": bundle(value)})


def emit(frame):
    """Sends a frame and waits until its place among the output is taken."""
    link.ask(frame, 10)


# Figures of matplotlib: shown when they are shown, or else at the end of their cell.


def is_figure(value):
    figure = sys.modules.get("matplotlib.figure")
    kind = getattr(figure, "Figure", None)
    return isinstance(kind, type) and isinstance(value, kind)


class Figures:
    def __init__(self):
        self.pyplot, self.saved, self.shown, self.busy = None, [], [], False

    def find_spec(self, name, path=None, target=None):
        """Waits in sys.meta_path for pyplot."""
        if name != "matplotlib.pyplot":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            load = spec.loader.exec_module

            def exec_module(module):
                load(module)
                self.attach(module)

            spec.loader.exec_module = exec_module
        return spec

    def attach(self, pyplot):
        self.pyplot = pyplot
        pyplot.show = lambda *args, **options: self.flush()
        kind = sys.modules["matplotlib.figure"].Figure
        save = kind.savefig

        def savefig(figure, *args, **options):
            result = save(figure, *args, **options)
            if not self.busy and not any(f is figure for f in self.saved):
                self.saved.append(figure)
            return result

        kind.savefig = savefig

    def picture(self, figure):
        from io import BytesIO

        data = BytesIO()
        self.busy = True
        try:
            figure.savefig(data, format="png", bbox_inches="tight")
        finally:
            self.busy = False
        self.shown.append(figure)
        return data.getvalue()

    def flush(self):
        """Shows the figures that are open or were saved, once, and closes them."""
        saved, self.saved = self.saved, []
        shown, self.shown = self.shown, []
        if self.pyplot is None:
            return
        opened = [self.pyplot.figure(number) for number in self.pyplot.get_fignums()]
        for figure in opened + [f for f in saved if not any(f is o for o in opened)]:
            if not any(figure is f for f in shown):
                show(figure, "display_data")
        self.pyplot.close("all")
        self.shown.clear()


figures = Figures()


# What cells can call.


def display(*values, raw=False, **options):
    """Show values: tables, pictures and everything else that has a rich
    representation. With raw=True a value is a dict of representations by MIME type."""
    for value in values:
        if raw and isinstance(value, dict):
            emit({"ev": "display", "kind": "display_data", "data": pack(value)})
        else:
            show(value, "display_data")


def progress(message="", percent=None):
    """Tell whoever waits how far the cell is; percent is 0 to 100."""
    frame = {"ev": "progress", "message": clip(str(message), 500)}
    if percent is not None:
        percent = float(percent)
        if math.isfinite(percent):
            frame["percent"] = min(max(percent, 0.0), 100.0)
    emit(frame)


def sample(value, mode="preview", n=5):
    """Print what a value is and the first n of what it holds; mode "full" prints more."""
    if mode == "full":
        n = max(n, 50)
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else "%s.%s" % (kind.__module__, kind.__name__)
    shape = getattr(value, "shape", None)
    if shape is not None:
        print("%s, shape %s" % (name, plain(shape)))
    elif hasattr(kind, "__len__"):
        print("%s, %d items" % (name, len(value)))
    else:
        print(name)
    columns = getattr(value, "dtypes", None)
    if columns is not None and hasattr(value, "head"):
        print(columns)
        print(value.head(n))
    elif isinstance(value, str):
        print(clip(value, 200 * n))
    elif isinstance(value, dict):
        for key, item in itertools.islice(value.items(), n):
            print("  %s: %s" % (clip(plain(key), 80), clip(plain(item), 200)))
    elif isinstance(value, (list, tuple, set, frozenset, range)):
        for item in itertools.islice(value, n):
            print("  " + clip(plain(item), 200))
    else:
        print(clip(plain(value), 400 * n))


class LLM:
    """The configured model. Its key stays with the server, which makes the calls."""

    def complete(self, prompt, system="", max_tokens=0):
        """Return what the model answers to a prompt."""
        return self._ask(prompt, system, max_tokens, None)

    def generate_object(self, prompt, schema, system="", max_tokens=0):
        """Return an answer that follows a JSON Schema, as Python values."""
        return json.loads(self._ask(prompt, system, max_tokens, schema))

    def _ask(self, prompt, system, max_tokens, schema):
        if not isinstance(prompt, str) or not isinstance(system, str):
            raise TypeError("the prompt must be a str")
        if len(prompt) + len(system) > PROMPT_MAX:
            raise ValueError("the prompt is longer than %d characters" % PROMPT_MAX)
        frame = {"ev": "model", "prompt": prompt, "system": system, "max_tokens": int(max_tokens)}
        if schema is not None:
            frame["schema"] = schema
        answer = link.ask(frame)
        if answer is None:
            raise RuntimeError("the model can only be asked in the process of the scratchpad itself")
        if answer.get("error"):
            raise RuntimeError(answer["error"])
        return answer.get("text", "")


def get_llm():
    """Return the configured model: get_llm().complete("...")."""
    return LLM()


def no_input(prompt=""):
    raise EOFError("input() does not work in a scratchpad: nobody is there to answer. Put the value into the code.")


# Cells.


def execute(code, filename, namespace):
    """Runs a cell and returns the value of its last line, if that is an expression."""
    tree = compile(code, filename, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = ast.Expression(tree.body.pop().value)
    if tree.body:
        evaluate(tree, filename, "exec", namespace)
    if last is None:
        return None
    value = evaluate(last, filename, "eval", namespace)
    return None if code.rstrip().endswith(";") else value


def evaluate(tree, filename, mode, namespace):
    """Runs code, which may await."""
    code = compile(tree, filename, mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, namespace)
    if code.co_flags & CO_COROUTINE:
        import asyncio

        return asyncio.run(result)
    return result


def describe(error):
    """A traceback without our own part of it."""
    try:
        told = traceback.TracebackException.from_exception(error)
        parts = [told]
        for part in parts:
            part.stack[:] = [frame for frame in part.stack if frame.filename != __file__]
            inner = [part.__cause__, part.__context__] + (getattr(part, "exceptions", None) or [])
            parts.extend(p for p in inner if p is not None)
        text = "".join(told.format())
    except Exception:
        text = type(error).__name__
    return clip(text.rstrip("\n"), ERROR_MAX)


def is_missing(name):
    """Whether a module is neither there nor one that no package brings."""
    if not name.isidentifier() or name in getattr(sys, "stdlib_module_names", ()):
        return False
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        return False


def missing(error, code):
    """The modules that a cell lacks: the one that it failed by, and those that it
    would fail by next."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return []
    first = error.name.partition(".")[0]
    if not is_missing(first):
        return []
    names = [first]
    for node in ast.parse(code).body:
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found = [node.module]
        for name in found:
            name = name.partition(".")[0]
            if name not in names and is_missing(name):
                names.append(name)
    return names


def run(request, namespace):
    code, filename = request["code"], "<cell %d>" % request["number"]
    linecache.cache[filename] = (len(code), None, (code + "\n").splitlines(True), filename)
    importlib.invalidate_caches()
    interrupts.install()
    failed = None
    beat.begin(request["beat"])
    try:
        try:
            interrupts.pending = False
            interrupts.running = True
            try:
                value = execute(code, filename, namespace)
                if value is not None:
                    namespace["_"] = value
                    show(value, "execute_result")
            finally:
                figures.flush()
                for stream in streams:
                    stream.flush_all()
                flush_c()
        finally:
            interrupts.running = False
    except SystemExit as e:
        if e.code not in (None, 0):
            failed = e
    except BaseException as e:
        failed = e
    beat.end()
    done = {"ev": "done"}
    if failed is not None:
        done.update(error=describe(failed), interrupted=isinstance(failed, KeyboardInterrupt), missing=missing(failed, code))
    Stream.current = None
    link.send(done)


def c_streams():
    """Flushes what C libraries print, which they keep in buffers of their own."""
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        names = ("__stdoutp", "__stderrp") if sys.platform == "darwin" else ("stdout", "stderr")
        streams = [ctypes.c_void_p.in_dll(libc, name) for name in names]
    except (ImportError, OSError, ValueError):
        return lambda: None
    return lambda: [libc.fflush(stream) for stream in streams]


def main():
    global link, beat, flush_c, streams
    link = Link(int(sys.argv[1]), int(sys.argv[2]))
    streams = Stream(1, "<stdout>"), Stream(2, "<stderr>")
    sys.stdout = sys.__stdout__ = streams[0]
    sys.stderr = sys.__stderr__ = streams[1]
    flush_c = c_streams()
    try:
        import faulthandler

        faulthandler.enable(2)
        with open("/proc/self/oom_score_adj", "w") as f:
            f.write("500")  # when memory runs out, cells go before the server
    except (ImportError, OSError):
        pass
    interrupts.install()
    logging.lastResort = Logs(logging.WARNING)
    logging.lastResort.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    sys.meta_path.insert(0, figures)
    for helper in (display, progress, sample, get_llm):
        setattr(builtins, helper.__name__, helper)
    builtins.input = no_input
    module = types.ModuleType("__main__", "The cells of this scratchpad.")
    sys.modules["__main__"] = module
    sys.argv = [""]
    sys.path[0] = ""
    beat = Beat()
    beat.start()
    threading.Thread(target=link.listen, daemon=True, name="scratchpad-link").start()
    link.send({"ev": "hello", "pid": os.getpid(), "version": ".".join(map(str, sys.version_info[:3]))})
    while True:
        request = link.cells.get()
        if request["op"] != "cell":
            break
        run(request, module.__dict__)
        if link.cut:
            os._exit(0)  # a copy of us that a cell forked off and forgot


main()
