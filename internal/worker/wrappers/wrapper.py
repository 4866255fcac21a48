"""Runs the script main.py of the working folder for a worker.

Requests come in on descriptor 0, replies go out on descriptor 3, one JSON
document a line. Both descriptors are moved before the script's own code runs:
the script reads nothing, and it finds 3 free. A reply carries the key of its
request, so that nothing else that gets into the pipe is taken for one.

Only what every job needs is imported at the start: json alone would take longer
than all the rest, because of the regular expressions in it.
"""
import os
import sys
from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

FILE = "main.py"
HERE = (lambda: 0).__code__.co_filename
process = 0  # that serves


class Loose:
    strict = False
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


loads = make_scanner(Loose)


def receive(source):
    """Returns the next request; None at the end."""
    line = source.readline()
    return loads(line.decode("utf-8", "replace").strip(), 0)[0] if line.strip() else None


def send(to, key, name, value):
    """Writes a reply."""
    if os.getpid() != process:  # a child that the script forked and left running into us
        os._exit(0)
    data = b'\n{"key":"%s","%s":%s}\n' % (key.encode(), name.encode(), value)
    try:
        while data:
            data = data[os.write(to, data):]
    except OSError:
        os.write(2, b"The script has closed the descriptor on which its result is reported.\n")
        os._exit(1)


def encode(value, strict):
    for quote in (encode_basestring, encode_basestring_ascii):
        try:
            parts = make_encoder({}, other, quote, None, ":", ",", False, False, not strict)(value, 0)
            return "".join(parts).encode()
        except UnicodeEncodeError:  # half a surrogate pair can be written as an escape only
            pass


def to_json(value):
    """Writes a value as JSON. What JSON has no word for becomes what it has: see other."""
    try:
        return encode(value, True)
    except (TypeError, ValueError):  # not a number, an unusual key, or a circle
        return encode(rebuild(value, set()), False)


def other(v):
    """Makes an object into something closer to JSON; text is the last resort."""
    if isinstance(v, (bytes, bytearray, memoryview)):
        import binascii
        return binascii.b2a_base64(v, newline=False).decode()
    if isinstance(v, (set, frozenset)):
        return list(v)
    kind = type(v)
    enum = sys.modules.get("enum")
    if enum and isinstance(v, enum.Enum):
        return v.value
    if kind.__name__ == "DataFrame" and hasattr(v, "values") and hasattr(v.values, "tolist"):
        return v.values.tolist()
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is not None and not isinstance(v, type):
        return {name: getattr(v, name) for name in fields if hasattr(v, name)}
    for name in ("model_dump", "to_dict", "tolist"):
        make = getattr(v, name, None)
        if callable(make) and not isinstance(v, type):
            return make()
    return str(v)


def rebuild(v, inside):
    if v is None or isinstance(v, (str, int)):
        return v
    if isinstance(v, float):
        return v if v - v == 0 else None
    if id(v) in inside:
        raise ValueError("it holds itself")
    inside.add(id(v))
    if isinstance(v, dict):
        made = {key(k): rebuild(x, inside) for k, x in v.items()}
    elif isinstance(v, (list, tuple)):
        made = [rebuild(x, inside) for x in v]
    else:
        made = rebuild(other(v), inside)
    inside.discard(id(v))
    return made


def key(k):
    return k if k is None or isinstance(k, (str, int, float)) else str(k)


def text(v):
    try:
        return str(v)
    except Exception as e:
        return "its text cannot be shown: " + type(e).__name__


def error_of(e):
    """Describes an exception, without the frames of this file."""
    import traceback
    trace = e.__traceback__
    while trace and trace.tb_frame.f_code.co_filename == HERE:
        trace = trace.tb_next
    error = {"name": type(e).__name__, "message": text(e)}
    try:
        error["stack"] = "".join(traceback.format_exception(type(e), e, trace)).rstrip("\n")
        if getattr(e, "__dict__", None):
            error["extra"] = loads(to_json(e.__dict__).decode(), 0)[0]
    except Exception:
        pass
    return error


def load():
    """Runs the script's own code and returns it as the module main."""
    import builtins
    import _sitebuiltins
    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D")
    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D")
    with open(FILE, "rb") as f:
        code = f.read()
    module = type(sys)("main")
    module.__file__ = os.path.abspath(FILE)
    sys.modules["main"] = module

    def lines():
        import linecache
        source = code.decode("utf-8", "replace")
        linecache.cache[FILE] = (len(source), None, source.splitlines(True), FILE)

    module_lines.append(lines)
    exec(compile(code, FILE, "exec", dont_inherit=True), module.__dict__)
    return module


module_lines = []


def values(f, args, entry):
    """Returns what to call f with, by position and by name: the arguments that it takes."""
    while hasattr(f, "__wrapped__"):
        f = f.__wrapped__
    code = getattr(f, "__code__", None)
    if code is None:
        return (), args
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if entry == "preprocessor" and "event" in names and "event" not in args:
        args = {"event": args, **args}
    hints = getattr(f, "__annotations__", {})
    taken = {n: convert(n, hints.get(n), v) for n, v in args.items() if n in names or code.co_flags & 8}
    first = []
    for name in names[: code.co_posonlyargcount]:
        if name not in taken:
            break
        first.append(taken.pop(name))
    return first, taken


def convert(name, hint, v):
    """Makes the text of an argument into bytes or a date, if that is what it is declared as."""
    if not isinstance(v, str) or hint is None:
        return v
    for h in (hint, *getattr(hint, "__args__", ())):
        spelled = h if isinstance(h, str) else getattr(h, "__module__", "") + "." + getattr(h, "__qualname__", "")
        try:
            if spelled in ("bytes", "builtins.bytes"):
                import binascii
                return binascii.a2b_base64(v)
            if spelled in ("datetime", "date", "datetime.datetime", "datetime.date"):
                import datetime
                return getattr(datetime, spelled.rpartition(".")[2]).fromisoformat(v)
        except ValueError as e:
            raise ValueError(f"argument {name}: {e}") from None
    return v


def call(f, args, entry):
    first, named = values(f, args, entry)
    result = f(*first, **named)
    if hasattr(result, "__await__"):
        import asyncio

        async def wait():
            return await result

        result = asyncio.run(wait())
    return result


def answer(request, module, to):
    """Runs one job and replies. Returns the module, None if it could not be run."""
    secret, entry = request["key"], request.get("entry") or "main"
    send(to, secret, "started", b"true")
    try:
        module = module or load()
        f = getattr(module, entry, None)
        if not callable(f):
            raise NameError(f"{FILE} has no function {entry}. Define one, such as: def {entry}(name: str): ...")
        result = call(f, request["args"], entry)
        try:
            reply = "result", to_json(result)
        except (TypeError, ValueError, RecursionError) as e:
            reply = "error", to_json({"name": "InvalidResult", "message": "The result cannot be written as JSON: " + text(e) + "."})
    except SystemExit:
        raise
    except BaseException as e:
        for lines in module_lines:
            lines()
        reply = "error", to_json(error_of(e))
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    send(to, secret, *reply)
    return module


def serve():
    global process
    process = os.getpid()
    source = os.fdopen(os.dup(0), "rb")
    to = os.dup2(3, 201, inheritable=False)
    os.close(3)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    sys.stdout.reconfigure(line_buffering=True)
    sys.argv[:] = [FILE]
    module = None
    while request := receive(source):
        if not module:
            os.environ.clear()
        os.environ.update(request.get("env") or {})
        if not module:
            sys.path[:0] = [os.getcwd(), *(request.get("paths") or [])]
        module = answer(request, module, to)
        if not module or not request.get("more"):
            return


if __name__ == "__main__":  # else a template calls it, in the process that it has forked
    serve()
