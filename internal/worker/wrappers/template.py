"""Forks a Python for each job, with the standard library loaded.

It is started with the wrapper's code as its argument. On descriptor 3 it is told
what to fork; see template.go of the package supervisor, which also says why it
forks twice. It runs nothing of a user's: a job's process leaves this loop, bounds
itself, and becomes the wrapper.
"""
import array
import ctypes
import gc
import json
import os
import resource
import signal
import socket
import struct
import sys

# What scripts import most. Whatever is here costs every job a little to copy.
import asyncio, base64, collections, concurrent.futures, contextlib, copy, csv, dataclasses, datetime, decimal, enum  # noqa
import functools, glob, hashlib, hmac, html, http.client, inspect, io, itertools, linecache, logging, math, operator  # noqa
import pathlib, random, re, secrets, shutil, ssl, statistics, string, subprocess, tempfile, textwrap, threading, time  # noqa
import traceback, types, typing, unicodedata, urllib.error, urllib.parse, urllib.request, uuid, zoneinfo, _sitebuiltins  # noqa
import encodings.idna, binascii, atexit  # noqa

NEWPID = 0x20000000
SET_DUMPABLE, SET_NO_NEW_PRIVS, CAP_AMBIENT, CLEAR_ALL = 4, 38, 47, 4
RESTRICT_SELF = 446  # landlock_restrict_self, on every architecture

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "")


def say(adopt, errno, pid):
    os.write(adopt, struct.pack("ii", errno, pid))


def fork(order, files):
    """Forks a job's process, which returns True; all others return False or end."""
    check(libc.setns(files["init"], NEWPID))
    if os.fork():
        return False
    try:
        check(libc.setns(files["init"], order["spaces"]))
        if os.fork():
            os._exit(0)
        if os.read(files["adopt"], 1) != b"\0":
            os._exit(125)
        while os.getppid() != 1:
            os.sched_yield()
        bound(order, files)
        say(files["adopt"], 0, os.getpid())
    except OSError as e:
        say(files["adopt"], e.errno or 1, 0)
        os._exit(125)
    return True


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


def settle(files):
    """Gives the files their places and closes all others."""
    for name, place in (("in", 0), ("out", 1), ("err", 2), ("reply", 3)):
        os.dup2(files[name], place, inheritable=True)
    os.closerange(4, max(files["all"]) + 1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def named(order, fds):
    files = {"groups": [], "all": list(fds)}
    for name, fd in zip(order["files"], fds):
        if name == "group":
            files["groups"].append(fd)
        else:
            files[name] = fd
    return files


def wait():
    """Serves orders until it is in a job's process."""
    orders = socket.socket(fileno=os.dup(3))
    while True:
        data, extra, _, _ = orders.recvmsg(1 << 16, socket.CMSG_SPACE(16 * 4))
        if not data:
            os._exit(0)
        fds = array.array("i")
        for _, _, part in extra:
            fds.frombytes(part[: len(part) - len(part) % fds.itemsize])
        order = json.loads(data)
        files = named(order, fds)
        files["all"].append(orders.fileno())
        try:
            if fork(order, files):
                orders.detach()
                settle(files)
                return
        except OSError as e:
            try:
                say(files["adopt"], e.errno or 1, 0)
            except OSError:
                pass  # whoever waited for it is gone
        for fd in fds:
            os.close(fd)


wrapper = compile(sys.argv[1], ".wrapper.py", "exec", dont_inherit=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
gc.collect()
gc.freeze()
wait()
exec(wrapper, {"__name__": "__main__", "__builtins__": __builtins__})
# What the interpreter does at its end, without taking down all that is loaded.
threading._shutdown()
atexit._run_exitfuncs()
for stream in (sys.stdout, sys.stderr):
    try:
        stream.flush()
    except Exception:
        pass
os._exit(0)
