"""Forks a Python for each job, with modules of the standard library loaded.

It is started with two arguments, the wrapper's code and the names of modules to
load, each of which costs every job a little to copy. On descriptor 3 it is told
what to fork; see template.go of the package supervisor. It runs nothing of a
user's: a job's process leaves this loop, bounds itself, and becomes the wrapper.
"""
import array
import atexit
import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import threading

NEWPID = 0x20000000
SET_DUMPABLE, SET_NO_NEW_PRIVS, CAP_AMBIENT, CLEAR_ALL = 4, 38, 47, 4
RESTRICT_SELF = 446  # landlock_restrict_self, on every architecture

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "")


def say(adopt, first, second):
    """Tells a job's init: an error or 0 and the process; then how that ended and its memory."""
    os.write(adopt, struct.pack("ii", first, second))


def fork(order, files):
    """Forks a job's process. Returns its number, in the process itself 0."""
    check(libc.setns(files["init"], NEWPID))
    pid = os.fork()
    if pid:
        return pid
    try:
        check(libc.setns(files["init"], order["spaces"]))
        if os.read(files["adopt"], 1) != b"\0":
            os._exit(125)
        bound(order, files)
        say(files["adopt"], 0, os.getpid())
    except OSError as e:
        say(files["adopt"], e.errno or 1, 0)
        os._exit(125)
    return 0


def bound(order, files):
    """Takes from the process what a job may not have."""
    if order["root"]:
        os.chroot(order["root"])
    os.chdir(order["dir"])
    os.setsid()
    for group in files["groups"]:
        os.write(group, b"0")
    for kind, most in order["limits"] or ():
        resource.setrlimit(kind, (most, most))
    if order["user"]:
        os.setgroups([])
        os.setresgid(*[order["user"]] * 3)
        os.setresuid(*[order["user"]] * 3)
    check(libc.prctl(CAP_AMBIENT, CLEAR_ALL, 0, 0, 0))
    check(libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24)))
    check(libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if "rules" in files:
        check(libc.syscall(RESTRICT_SELF, files["rules"], 0))
    check(libc.prctl(SET_DUMPABLE, 1, 0, 0, 0))  # else /dev/stdout is not its own


def settle(files, most):
    """Gives the files their places and closes all others, up to the number given."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for name, place in (("in", 0), ("out", 1), ("err", 2), ("reply", 3)):
        os.dup2(files[name], place, inheritable=True)
    os.closerange(4, most + 1)


def named(order, fds):
    files = {"groups": []}
    for name, fd in zip(order["files"], fds):
        if name == "group":
            files["groups"].append(fd)
        else:
            files[name] = fd
    return files


def receive(orders):
    """Returns an order with its files, named and all; None if there is none now."""
    try:
        data, extra, _, _ = orders.recvmsg(1 << 16, socket.CMSG_SPACE(16 * 4), socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    if not data:
        os._exit(0)
    fds = array.array("i")
    for _, _, part in extra:
        fds.frombytes(part[: len(part) - len(part) % fds.itemsize])
    order = json.loads(data)
    return order, named(order, fds), fds


def reap(jobs):
    """Tells the inits of the processes that have ended. What is no job's own process is only reaped."""
    while True:
        try:
            pid, status, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        adopt = jobs.pop(pid, None)
        if adopt is not None:
            tell(adopt, status, used.ru_maxrss)
            os.close(adopt)


def tell(adopt, first, second):
    try:
        say(adopt, first, second)
    except OSError:
        pass  # whoever waited for it is gone


def wait():
    """Serves orders until it is in a job's process."""
    orders = socket.socket(fileno=os.dup(3))
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    jobs = {}  # by process, what its init hears of it on
    events = select.poll()
    events.register(orders, select.POLLIN)
    events.register(woken, select.POLLIN)
    while True:
        for fd, _ in events.poll():
            if fd == woken.fileno():
                woken.recv(4096)
        reap(jobs)
        if not (got := receive(orders)):
            continue
        order, files, fds = got
        try:
            pid = fork(order, files)
            if not pid:
                most = max(*fds, *jobs.values(), orders.fileno(), woken.fileno(), wake.fileno())
                for end in (orders, woken, wake):
                    end.detach()
                settle(files, most)
                return
            jobs[pid] = os.dup(files["adopt"])
        except OSError as e:
            tell(files["adopt"], e.errno or 1, 0)
        for fd in fds:
            os.close(fd)


wrapper = {"__name__": "wrapper", "__builtins__": __builtins__}
exec(compile(sys.argv[1], ".wrapper.py", "exec", dont_inherit=True), wrapper)
for name in sys.argv[2].split():
    try:
        importlib.import_module(name)
    except ImportError:
        pass  # this Python was made without it
gc.collect()
gc.freeze()
wait()
wrapper["serve"]()
# What the interpreter does at its end, without taking down all that is loaded.
threading._shutdown()
atexit._run_exitfuncs()
for stream in (sys.stdout, sys.stderr):
    try:
        stream.flush()
    except Exception:
        pass
os._exit(0)
