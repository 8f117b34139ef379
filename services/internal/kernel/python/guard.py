"""Stands between the server and a program of a scratchpad, so that nothing that
the program starts outlives it, its scratchpad or the server.

    guard.py GRACE CONTROL PROGRAM ARGUMENT...

It runs the program in a process group of its own and ends as the program does
(128 and the number of a signal). CONTROL is a pipe from the server: when it
closes, the program has GRACE seconds to end; a byte on it means at once. On
Linux everything that descends from the program is found, however it detached
itself; elsewhere its process group is.
"""
import os
import select
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl():
    """The system call of that name, or something that does nothing."""
    if sys.platform.startswith("linux"):
        try:
            import ctypes

            return ctypes.CDLL(None).prctl
        except (ImportError, OSError, AttributeError):
            pass
    return lambda *args: None


def run(program, call):
    """The child's way: become the program, and die if the guard does."""
    guard = os.getppid()
    try:
        os.setpgid(0, 0)
        call(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(program[0], program)
    except BaseException as e:
        os.write(2, ("%s: %s\n" % (program[0], e)).encode("utf-8", "replace"))
    os._exit(127)


def reap(pid):
    """The status of pid once it has ended; others that ended are forgotten."""
    found = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if ended == 0:
            return found
        if ended == pid:
            found = status


def children():
    """Our children, by /proc; none where there is no such thing."""
    me, found = os.getpid(), []
    try:
        names = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return found
    for name in names:
        try:
            with open("/proc/%s/stat" % name, "rb") as f:
                stat = f.read()
        except OSError:
            continue
        fields = stat[stat.rfind(b")") + 2 :].split()
        if len(fields) > 1 and int(fields[1]) == me:
            found.append(int(name))
    return found


def kill(send, pid):
    try:
        send(pid, signal.SIGKILL)
    except OSError:
        pass


def clear(pid):
    """Ends what is left of the program. Orphans become our children one by one."""
    kill(os.killpg, pid)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        for child in children():
            kill(os.kill, child)
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.005)
        except ChildProcessError:
            return


def watch(pid, control, grace):
    """Waits for the program's end, and brings it about when it is time to."""
    wake, poke = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(poke, False)
    signal.signal(signal.SIGCHLD, lambda *args: None)
    signal.set_wakeup_fd(poke, warn_on_full_buffer=False)
    watched, deadline = [control, wake], None
    while True:
        status = reap(pid)
        if status is not None:
            return status
        left = None
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                kill(os.killpg, pid)
                deadline, left = time.monotonic() + 1, 1
        ready = select.select(watched, [], [], left)[0]
        if wake in ready:
            try:
                os.read(wake, 512)
            except BlockingIOError:
                pass
        if control in ready:
            hurry = os.read(control, 64)
            if not hurry:
                watched = [wake]
            deadline = time.monotonic() + (0 if hurry else grace)


def main():
    grace, control, program = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    os.set_inheritable(control, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    call = prctl()
    call(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    pid = os.fork()
    if pid == 0:
        run(program, call)
    try:
        os.setpgid(pid, pid)  # whoever of the two is first
    except OSError:
        pass
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.closerange(3, control)
    os.closerange(control + 1, 256)
    status = watch(pid, control, grace)
    clear(pid)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


main()
