// Markdown, as far as results and reports use it, as blocks to be drawn. Pure,
// and no HTML: what is drawn is built of these parts alone.

export type Inline =
  | { kind: 'text'; text: string }
  | { kind: 'code'; text: string }
  | { kind: 'strong' | 'em' | 'del'; of: Inline[] }
  | { kind: 'link'; href: string; of: Inline[] };

export type Block =
  | { kind: 'heading'; level: number; of: Inline[] }
  | { kind: 'paragraph'; of: Inline[] }
  | { kind: 'code'; text: string }
  | { kind: 'quote'; of: Block[] }
  | { kind: 'list'; ordered: boolean; start: number; items: Block[][] }
  | { kind: 'table'; head: Inline[][]; rows: Inline[][][] }
  | { kind: 'rule' };

const DEEP = 8;
const fence = /^ {0,3}(`{3,}|~{3,})/;
const bullet = /^( {0,3})([-*+]|\d{1,9}[.)])( +|$)/;
const heading = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
const rule = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const delimiters = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

/** blocks reads a text; what lies deeper than a few levels stays text. */
export function blocks(source: string, depth = 0): Block[] {
  const lines = source.replace(/\r\n?/g, '\n').split('\n');
  const out: Block[] = [];
  let i = 0;
  const at = (n: number) => lines[n] ?? '';
  const begins = (l: string) => fence.test(l) || heading.test(l) || rule.test(l) || /^ {0,3}>/.test(l) || bullet.test(l);
  while (i < lines.length) {
    const line = at(i);
    const f = fence.exec(line);
    const h = heading.exec(line);
    if (line.trim() === '') i++;
    else if (f) {
      const end = new RegExp(`^ {0,3}${f[1]![0]}{${f[1]!.length},}\\s*$`);
      const from = ++i;
      while (i < lines.length && !end.test(at(i))) i++;
      out.push({ kind: 'code', text: lines.slice(from, i++).join('\n') });
    } else if (h) {
      out.push({ kind: 'heading', level: h[1]!.length, of: inline(h[2] ?? '') });
      i++;
    } else if (rule.test(line)) {
      out.push({ kind: 'rule' });
      i++;
    } else if (/^ {0,3}>/.test(line) && depth < DEEP) {
      const from = i;
      while (i < lines.length && at(i).trim() !== '' && (/^ {0,3}>/.test(at(i)) || !begins(at(i)))) i++;
      out.push({ kind: 'quote', of: blocks(lines.slice(from, i).map((l) => l.replace(/^ {0,3}> ?/, '')).join('\n'), depth + 1) });
    } else if (bullet.test(line) && depth < DEEP) {
      const [list, next] = readList(lines, i, depth);
      out.push(list);
      i = next;
    } else if (line.includes('|') && delimiters.test(at(i + 1)) && at(i + 1).includes('-')) {
      const head = cells(line);
      const rows: Inline[][][] = [];
      for (i += 2; i < lines.length && at(i).includes('|'); i++) rows.push(head.map((_, n) => inline(cells(at(i))[n] ?? '')));
      out.push({ kind: 'table', head: head.map(inline), rows });
    } else {
      const from = i++;
      while (i < lines.length && at(i).trim() !== '' && !begins(at(i))) i++;
      out.push({ kind: 'paragraph', of: inline(lines.slice(from, i).map((l) => l.trim()).join('\n')) });
    }
  }
  return out;
}

function readList(lines: string[], from: number, depth: number): [Block, number] {
  const first = bullet.exec(lines[from]!)!;
  const ordered = /\d/.test(first[2]!);
  const same = (m: RegExpExecArray | null) => m !== null && /\d/.test(m[2]!) === ordered;
  const items: Block[][] = [];
  let i = from;
  while (i < lines.length && same(bullet.exec(lines[i]!))) {
    const m = bullet.exec(lines[i]!)!;
    const deep = m[0].length;
    const own = [lines[i]!.slice(deep)];
    for (i++; i < lines.length; i++) {
      const l = lines[i]!;
      const indent = l.length - l.trimStart().length;
      if (l.trim() === '') {
        const next = lines[i + 1] ?? '';
        if (next.trim() === '' || next.length - next.trimStart().length < deep) break;
      } else if (indent < Math.min(deep, 2) && bullet.test(l)) break;
      else if (indent < 2 && (lines[i - 1]!.trim() === '' || heading.test(l) || fence.test(l))) break;
      own.push(l.slice(Math.min(indent, deep)));
    }
    items.push(blocks(own.join('\n'), depth + 1));
    while (i < lines.length && lines[i]!.trim() === '' && same(bullet.exec(lines[i + 1] ?? ''))) i++;
  }
  return [{ kind: 'list', ordered, start: ordered ? Number.parseInt(first[2]!, 10) : 1, items }, i];
}

function cells(row: string): string[] {
  return row.trim().replace(/^\|/, '').replace(/\|$/, '').split(/(?<!\\)\|/).map((c) => c.trim().replace(/\\\|/g, '|'));
}

const marks: [RegExp, (m: RegExpExecArray, deeper: (s: string) => Inline[]) => Inline][] = [
  [/^\\([!-/:-@[-`{-~])/, (m) => ({ kind: 'text', text: m[1]! })],
  [/^(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)/, (m) => ({ kind: 'code', text: m[2]!.replace(/^ (.+) $/, '$1') })],
  [/^\*\*(?=\S)([\s\S]*?\S)\*\*/, (m, deeper) => ({ kind: 'strong', of: deeper(m[1]!) })],
  [/^__(?=\S)([\s\S]*?\S)__(?!\w)/, (m, deeper) => ({ kind: 'strong', of: deeper(m[1]!) })],
  [/^~~(?=\S)([\s\S]*?\S)~~/, (m, deeper) => ({ kind: 'del', of: deeper(m[1]!) })],
  [/^\*(?=[^\s*])([\s\S]*?[^\s*])\*(?!\*)/, (m, deeper) => ({ kind: 'em', of: deeper(m[1]!) })],
  [/^_(?=[^\s_])([\s\S]*?[^\s_])_(?!\w)/, (m, deeper) => ({ kind: 'em', of: deeper(m[1]!) })],
  // A picture would be fetched from another host: its place says what it shows.
  [/^!\[([^\]]*)\]\(([^()\s]*)(?:\s+"[^"]*")?\)/, (m) => link(m[2]!, [{ kind: 'text', text: m[1] || m[2]! }])],
  [/^\[((?:[^[\]]|\[[^\]]*\])+)\]\(([^()\s]*)(?:\s+"[^"]*")?\)/, (m, deeper) => link(m[2]!, deeper(m[1]!))],
  [/^<(https?:\/\/[^\s<>]+)>/, (m) => link(m[1]!, [{ kind: 'text', text: m[1]! }])],
  [/^https?:\/\/[^\s<>]*[^\s<>.,;:!?)'"\]]/, (m) => link(m[0], [{ kind: 'text', text: m[0] }])],
];

/** link leads to a page or an address; anything else, such as javascript:, stays text. */
function link(href: string, of: Inline[]): Inline {
  return /^(https?:\/\/|mailto:)/i.test(href) ? { kind: 'link', href, of } : { kind: 'em', of };
}

const LONG = 20_000;

export function inline(source: string, depth = 0): Inline[] {
  const out: Inline[] = [];
  let plain = '';
  const flush = () => {
    if (plain !== '') out.push({ kind: 'text', text: plain });
    plain = '';
  };
  const deeper = (s: string) => inline(s, depth + 1);
  let i = 0;
  while (i < source.length && i < LONG && depth < DEEP) {
    const c = source[i]!;
    const before = source[i - 1] ?? ' ';
    let found: [RegExpExecArray, Inline] | undefined;
    if ('\\`*_~![<h'.includes(c) && !((c === '_' || c === 'h') && /\w/.test(before))) {
      const rest = source.slice(i, i + 4000);
      for (const [pattern, make] of marks) {
        const m = pattern.exec(rest);
        if (m) {
          found = [m, make(m, deeper)];
          break;
        }
      }
    }
    if (found) {
      if (found[1].kind === 'text') plain += found[1].text;
      else {
        flush();
        out.push(found[1]);
      }
      i += found[0][0].length;
    } else plain += source[i++];
  }
  plain += source.slice(i);
  flush();
  return out;
}
