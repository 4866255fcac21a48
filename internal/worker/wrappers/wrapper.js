// @bun

// Runs the script main.ts of the working folder for a worker.
//
// Requests come in on descriptor 0, replies go out on descriptor 3, one JSON
// document a line. A reply carries the key of its request, so that nothing else
// in the pipe is taken for one.
//
// A program that serves one job reads its request to the end of the pipe, where
// the script then finds itself. One that stays (its argument says so) opens both
// descriptors anew elsewhere and closes them before the script's own code runs.
// Only that one loads node:fs, which costs as much as starting bun.
//
// The first line tells bun to run the text as it is: to transpile it costs every
// job more than all that it does. So it is JavaScript, and each request is
// {key, args, env?, entry?}.

const file = "main.ts";
const here = process.cwd() + "/";
const self = import.meta.path;
const stays = process.argv[2] === "stay";

// channel returns what receives the next request, null at the end, and what
// writes a reply.
async function channel() {
  if (!stays) {
    let asked = false;
    return {
      receive: async () => {
        if (asked) return null;
        asked = true;
        const text = await Bun.file("/proc/self/fd/0").text();
        return text === "" ? null : JSON.parse(text);
      },
      write: (text) => Bun.write(Bun.file(3), text),
    };
  }
  const { closeSync, openSync, readSync, writeSync } = await import("node:fs");
  const move = (fd, flags) => {
    const moved = openSync(`/proc/self/fd/${fd}`, flags);
    closeSync(fd);
    return moved;
  };
  const source = move(0, "r");
  openSync("/dev/null", "r"); // becomes 0, the lowest that is free
  const target = move(3, "w");
  let rest = Buffer.alloc(0);
  return {
    receive: async () => {
      const parts = [rest];
      const chunk = Buffer.alloc(1 << 16);
      let end = rest.indexOf(10);
      while (end < 0) {
        const n = readSync(source, chunk);
        if (n === 0) return null;
        const part = Buffer.from(chunk.subarray(0, n));
        end = part.indexOf(10);
        parts.push(part);
      }
      const all = Buffer.concat(parts);
      const at = all.indexOf(10);
      rest = all.subarray(at + 1);
      return JSON.parse(all.toString("utf8", 0, at));
    },
    write: (text) => {
      let data = Buffer.from(text);
      while (data.length > 0) data = data.subarray(writeSync(target, data));
    },
  };
}

const { receive, write } = await channel();

// send writes a reply; value is JSON already.
async function send(key, name, value) {
  try {
    await write(`\n{"key":"${key}","${name}":${value}}\n`);
  } catch {
    console.error("The script has closed the descriptor on which its result is reported.");
    process.exit(1);
  }
}

// names reads the parameters of a function from its text, of which nothing but
// JavaScript is left. One that is taken apart has no name.
function names(f) {
  const text = f.toString();
  const single = /^(?:async\s+)?([\w$\u0080-\uffff]+)\s*=>/.exec(text); // \p{…} would take as long to compile as all the rest
  if (single) return [{ name: single[1], rest: false }];
  const open = text.indexOf("(");
  if (open < 0 || text.includes("[native code]")) return null;
  const list = [];
  let start = open + 1;
  for (let at = start, depth = 0; at < text.length; at++) {
    const c = text[at];
    if (c === '"' || c === "'" || c === "`") {
      for (at++; at < text.length && text[at] !== c; at++) if (text[at] === "\\") at++;
    } else if (c === "(" || c === "[" || c === "{") {
      depth++;
    } else if (depth === 0 && (c === "," || c === ")")) {
      list.push(text.slice(start, at).trim());
      start = at + 1;
      if (c === ")") break;
    } else if (c === ")" || c === "]" || c === "}") {
      depth--;
    }
  }
  return list.filter((p) => p !== "").map((p) => {
    const m = /^(\.\.\.)?([\w$\u0080-\uffff]+)/.exec(p);
    return { name: m?.[2] ?? "", rest: m?.[1] !== undefined };
  });
}

function values(f, args, entry) {
  if (f.length === 0 && Object.keys(args).length === 0) return []; // the common case, without a look at the text
  const params = names(f);
  if (!params) return [args];
  const own = (name) => (Object.hasOwn(args, name) ? args[name] : undefined);
  return params.flatMap(({ name, rest }) => {
    if (name === "" || (entry === "preprocessor" && name === "event" && !Object.hasOwn(args, "event"))) return [args];
    const value = own(name);
    if (!rest) return [value];
    if (value === undefined && params.length === 1) return Object.values(args);
    return Array.isArray(value) ? value : value === undefined ? [] : [value];
  });
}

// A BigInt becomes its text: a number would lose digits on the way.
BigInt.prototype.toJSON = function () {
  return this.toString();
};

function json(value) {
  return JSON.stringify(value ?? null, (_, v) => (v === undefined ? null : v)) ?? "null";
}

function place(e) {
  const at = e?.position;
  return at ? `${String(at.file).replace(here, "")}:${at.line}:${at.column}: ${e.message}` : String(e?.message ?? e);
}

function describe(e) {
  try {
    const broken = e instanceof AggregateError && e.errors.some((x) => x?.position) ? e.errors : e?.position ? [e] : null;
    if (broken) {
      return json({ name: "SyntaxError", message: broken.map((x) => place(x)).join("\n") });
    }
    if (e === null || typeof e !== "object") return json({ name: "Error", message: String(e) });
    const error = { name: String(e.name ?? "Error"), message: String(e.message ?? JSON.stringify(e)) };
    if (typeof e.stack === "string") {
      const lines = e.stack.split("\n").filter((l) => !l.includes(self) && !/\(?native(:|\)|$)/.test(l));
      error.stack = lines.join("\n").replaceAll(here, "");
    }
    return json(error);
  } catch {
    return json({ name: "Error", message: "The script threw something that cannot be shown." });
  }
}

let module;

// load runs the script's own code. What can be loaded at once is: that saves the
// start of a thread.
async function load() {
  try {
    return import.meta.require(here + file);
  } catch (e) {
    if (!String(e?.message).includes("async module")) throw e; // it awaits at its top
    return await import(here + file);
  }
}

// answer runs one job, replies, and tells whether the script could be run at all.
async function answer(request) {
  const { key, args } = request;
  const entry = request.entry || "main";
  await send(key, "started", "true");
  let ran = false;
  let reply;
  try {
    module ??= await load();
    ran = true;
    const f = module[entry];
    if (typeof f !== "function") {
      throw new ReferenceError(`${file} exports no function ${entry}. Export one, such as: export async function ${entry}(name: string) { … }`);
    }
    const result = await f(...values(f, args, entry));
    try {
      reply = ["result", json(result)];
    } catch (e) {
      reply = ["error", json({ name: "InvalidResult", message: `The result cannot be written as JSON: ${e?.message}` })];
    }
  } catch (e) {
    reply = ["error", describe(e)];
  }
  await send(key, ...reply);
  return ran;
}

let first = true;
for (let request = await receive(); request; request = await receive()) {
  if (first) {
    for (const name of Object.keys(process.env)) if (request.env?.[name] === undefined) delete process.env[name];
    first = false;
  }
  Object.assign(process.env, request.env ?? {});
  if (!(await answer(request))) break;
}
process.exit(0);
