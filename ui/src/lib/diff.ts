// Differences of texts, line by line, and values as texts that can be compared so. Pure.

export interface Change {
  from: unknown;
  to: unknown;
}

/** What differs between two versions: of a text, unified; and of what is set beside it. */
export interface Difference {
  diff: string;
  settings: Record<string, Change>;
}

export interface DiffLine {
  kind: 'same' | 'in' | 'out' | 'note';
  text: string;
  /** Its number before and after. */
  a?: number;
  b?: number;
  /** So many lines that are the same are left out before it. */
  left?: number;
}

/** read takes a unified difference apart. */
export function read(unified: string): DiffLine[] {
  const out: DiffLine[] = [];
  let [a, b, left] = [1, 1, 0];
  for (const line of unified.replace(/\n$/, '').split('\n')) {
    const at = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (at) {
      const begin = Number(at[1]) + (at[2] === '0' ? 1 : 0);
      left = begin - a;
      [a, b] = [begin, Number(at[3]) + (at[4] === '0' ? 1 : 0)];
      continue;
    }
    if (out.length === 0 && (line.startsWith('--- ') || line.startsWith('+++ ')) && a === 1 && b === 1 && left === 0 && !unified.startsWith('@@')) continue;
    const text = line.slice(1);
    const l: DiffLine =
      line[0] === '+' ? { kind: 'in', text, b: b++ } : line[0] === '-' ? { kind: 'out', text, a: a++ } : line[0] === '\\' ? { kind: 'note', text: text.trim() } : { kind: 'same', text, a: a++, b: b++ };
    if (left > 0) l.left = left;
    left = 0;
    out.push(l);
  }
  return out;
}

/** Beyond so many cells of the table of the longest common subsequence the middle counts as written anew. */
const MOST = 4_000_000;
const AROUND = 3;

/** unified compares two texts; "" if they are the same. */
export function unified(before: string, after: string): string {
  if (before === after) return '';
  const [a, b] = [before.split('\n'), after.split('\n')];
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const ops = [...a.slice(0, head).map((l) => ' ' + l), ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)), ...a.slice(a.length - tail).map((l) => ' ' + l)];
  const near = new Uint8Array(ops.length);
  ops.forEach((o, i) => o[0] !== ' ' && near.fill(1, Math.max(i - AROUND, 0), i + AROUND + 1));
  const out: string[] = [];
  let [na, nb] = [1, 1];
  for (let i = 0; i < ops.length; i++) {
    if (near[i] && !near[i - 1]) {
      let end = i;
      while (end < ops.length && near[end]) end++;
      const hunk = ops.slice(i, end);
      const [la, lb] = [hunk.filter((o) => o[0] !== '+').length, hunk.filter((o) => o[0] !== '-').length];
      out.push(`@@ -${la ? na : na - 1},${la} +${lb ? nb : nb - 1},${lb} @@`);
    }
    if (near[i]) out.push(ops[i]!);
    if (ops[i]![0] !== '+') na++;
    if (ops[i]![0] !== '-') nb++;
  }
  return out.join('\n') + '\n';
}

/** middle finds the longest common subsequence of lines that begin and end differently. */
function middle(a: string[], b: string[]): string[] {
  const w = b.length + 1;
  if (a.length * w > MOST) return [...a.map((l) => '-' + l), ...b.map((l) => '+' + l)];
  const best = new Uint32Array((a.length + 1) * w);
  for (let i = a.length - 1; i >= 0; i--) for (let j = b.length - 1; j >= 0; j--) best[i * w + j] = a[i] === b[j] ? best[(i + 1) * w + j + 1]! + 1 : Math.max(best[(i + 1) * w + j]!, best[i * w + j + 1]!);
  const out: string[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      out.push(' ' + a[i]!);
      i++;
      j++;
    } else if (j >= b.length || (i < a.length && best[(i + 1) * w + j]! >= best[i * w + j + 1]!)) out.push('-' + a[i++]!);
    else out.push('+' + b[j++]!);
  }
  return out;
}

/** outline writes a value with a line for each of its parts, and texts of several lines as such. */
export function outline(v: unknown, indent = ''): string[] {
  if (Array.isArray(v)) return v.length === 0 ? [indent + '[]'] : v.flatMap((e) => item(outline(e, indent + '  '), indent));
  if (v !== null && typeof v === 'object') {
    const entries = Object.entries(v).filter(([, e]) => e !== undefined);
    return entries.length === 0 ? [indent + '{}'] : entries.flatMap(([name, e]) => named(name, e, indent));
  }
  return [indent + plain(v)];
}

function item(lines: string[], indent: string): string[] {
  return [`${indent}- ${lines[0]!.slice(indent.length + 2)}`, ...lines.slice(1)];
}

function named(name: string, v: unknown, indent: string): string[] {
  if (typeof v === 'string' && v.includes('\n')) return [`${indent}${name}: |`, ...v.replace(/\n$/, '').split('\n').map((l) => `${indent}  ${l}`)];
  const deep = v !== null && typeof v === 'object' && Object.keys(v).length > 0;
  return deep ? [`${indent}${name}:`, ...outline(v, indent + '  ')] : [`${indent}${name}: ${outline(v)[0]!}`];
}

function plain(v: unknown): string {
  return typeof v === 'string' && v !== '' && !/^[\s\-#]|[\n]|^(true|false|null|[\d.]+)$/.test(v) ? v : JSON.stringify(v);
}
