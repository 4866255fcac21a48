// A log as lines: kept as text, coloured when looked at. Pure.

/** A style that escape sequences have set. */
export interface Style {
  fg?: string;
  bg?: string;
  bold?: boolean;
  dim?: boolean;
  italic?: boolean;
  underline?: boolean;
}

export interface Line {
  text: string;
  /** The style in force where the line begins; undefined: none. */
  style: Style | undefined;
}

export interface Piece {
  text: string;
  style: Style | undefined;
}

/** So many lines are kept; the first go. */
export const mostLines = 200_000;
const longestLine = 20_000;

// eslint-disable-next-line no-control-regex
const escape = /\x1b\[([0-9;]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b./g;

/** A log that grows at its end. */
export class Log {
  lines: Line[] = [];
  /** Lines that were let go. */
  dropped = 0;
  #open = '';
  #style: Style | undefined;

  /** add appends text, which may end within a line. */
  add(more: string): void {
    const parts = (this.#open + more).split('\n');
    if (this.#open !== '') this.lines.pop();
    this.#open = parts.pop() ?? '';
    for (const p of parts) this.#push(p, true);
    if (this.#open !== '') this.#push(this.#open, false);
    if (this.lines.length > mostLines) {
      const gone = this.lines.length - mostLines;
      this.lines.splice(0, gone);
      this.dropped += gone;
    }
  }

  #push(text: string, whole: boolean): void {
    // What follows a carriage return stands in the place of what came before it.
    const body = text.replace(/\r$/, '');
    const shown = body.slice(body.lastIndexOf('\r') + 1);
    this.lines.push({ text: shown.length > longestLine ? shown.slice(0, longestLine) + ' …' : shown, style: this.#style });
    if (whole && text.includes('\x1b')) this.#style = pieces({ text: body, style: this.#style }).at(-1)?.style;
  }
}

/** plain is the text of a line without escape sequences. */
export function plain(text: string): string {
  return text.includes('\x1b') ? text.replace(escape, '') : text;
}

/** pieces cuts a line where its style changes. The last piece has the style in force at its end. */
export function pieces(line: Line): Piece[] {
  if (!line.text.includes('\x1b')) return [{ text: line.text, style: line.style }];
  const out: Piece[] = [];
  let style = line.style;
  let from = 0;
  for (const m of line.text.matchAll(escape)) {
    if (m.index > from) out.push({ text: line.text.slice(from, m.index), style });
    from = m.index + m[0].length;
    if (m[2] === 'm') style = select(style, m[1] ?? '');
  }
  out.push({ text: line.text.slice(from), style });
  return out;
}

const names = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];

function select(before: Style | undefined, codes: string): Style | undefined {
  let s: Style = { ...before };
  const list = codes === '' ? [0] : codes.split(';').map(Number);
  for (let i = 0; i < list.length; i++) {
    const c = list[i]!;
    if (c === 0) s = {};
    else if (c === 1) s.bold = true;
    else if (c === 2) s.dim = true;
    else if (c === 3) s.italic = true;
    else if (c === 4) s.underline = true;
    else if (c === 22) s.bold = s.dim = undefined;
    else if (c === 23) s.italic = undefined;
    else if (c === 24) s.underline = undefined;
    else if (c >= 30 && c <= 37) s.fg = names[c - 30];
    else if (c >= 90 && c <= 97) s.fg = names[c - 90];
    else if (c === 39) s.fg = undefined;
    else if (c >= 40 && c <= 47) s.bg = names[c - 40];
    else if (c >= 100 && c <= 107) s.bg = names[c - 100];
    else if (c === 49) s.bg = undefined;
    else if (c === 38 || c === 48) {
      const [colour, used] = extended(list.slice(i + 1));
      if (c === 38) s.fg = colour;
      else s.bg = colour;
      i += used;
    }
  }
  return Object.values(s).some((v) => v !== undefined) ? s : undefined;
}

/** extended reads 5;N and 2;R;G;B. What is given as numbers is brought to the sixteen names, which fit either theme. */
function extended(list: number[]): [string | undefined, number] {
  if (list[0] === 2) return [nearest(list[1] ?? 0, list[2] ?? 0, list[3] ?? 0), 4];
  if (list[0] !== 5) return [undefined, 0];
  const n = list[1] ?? 0;
  if (n < 16) return [names[n % 8], 2];
  if (n >= 232) return [n < 244 ? 'black' : 'white', 2];
  const k = n - 16;
  return [nearest(Math.floor(k / 36) * 51, (Math.floor(k / 6) % 6) * 51, (k % 6) * 51), 2];
}

function nearest(r: number, g: number, b: number): string | undefined {
  const half = Math.max(r, g, b) / 2;
  return names[(r > half ? 1 : 0) + (g > half ? 2 : 0) + (b > half ? 4 : 0)];
}
