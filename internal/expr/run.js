var __run, __outcome;
(() => {
  const { parse, stringify } = JSON;
  const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
  let outcome = "none:";

  // compile tries the text as an expression, then as statements of which the
  // last gives the value, then as statements.
  const compile = (names, text) => {
    let first;
    const bodies = [() => "return (\n" + text + "\n)"];
    if (!/\breturn\b/.test(text)) {
      const whole = text.replace(/[;\s]+$/, "");
      const last = Math.max(whole.lastIndexOf("\n"), whole.lastIndexOf(";")) + 1;
      bodies.push(() => whole.slice(0, last) + " return (" + whole.slice(last) + "\n)");
    }
    bodies.push(() => text);
    for (const body of bodies) {
      try {
        return new AsyncFunction(...names, body());
      } catch (e) {
        if (!(e instanceof SyntaxError)) throw e;
        first = e;
      }
    }
    throw first;
  };

  const show = (e) => {
    if (e === null) return "null";
    if (e instanceof Error) return String(e.name) + ": " + String(e.message);
    const s = typeof e === "object" ? stringify(e) : String(e);
    return "thrown: " + s;
  };

  const plain = (_, v) => {
    if (typeof v !== "bigint") return v;
    const n = Number(v);
    return Number.isSafeInteger(n) ? n : String(v);
  };

  // reader gives what the server has read for the paths in the expression.
  const reader = (what, found) => (path) => {
    const at = found && Object.hasOwn(found, path) ? found[path] : undefined;
    const call = what + "(" + stringify(path) + ")";
    if (at === undefined) throw new Error(call + " cannot be read: write its path out, as in " + what + "('f/folder/name')");
    if (at.error) throw new Error(call + ": " + at.error);
    return at.value;
  };

  __run = (text, context) => {
    const values = parse(context);
    if (values.iter !== undefined) {
      values.flow_input = { ...values.flow_input, iter: values.iter };
      delete values.iter;
    }
    values.variable = reader("variable", values.variable);
    values.resource = reader("resource", values.resource);
    try {
      const names = Object.keys(values);
      compile(names, text)(...names.map((n) => values[n])).then(
        (v) => {
          try {
            outcome = "value:" + (stringify(v, plain) ?? "null");
          } catch (e) {
            outcome = "error:" + show(e);
          }
        },
        (e) => {
          outcome = "error:" + show(e);
        },
      );
    } catch (e) {
      outcome = "error:" + show(e);
    }
  };
  __outcome = () => outcome;
})();
