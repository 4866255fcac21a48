// Where the steps of a flow stand when they are drawn: one below the other,
// loops and branches in frames. Pure: a value in, boxes and lines out.
import { failureId, isContainer, isLoop, preprocessorId, scopesOf, type FlowValue, type Module } from './flow';

export interface Box {
  x: number;
  y: number;
  w: number;
  h: number;
}
export interface StepBox extends Box {
  id: string;
  module: Module;
  role: 'step' | 'failure' | 'preprocessor';
}
export interface Frame extends Box {
  id: string;
}
export interface Label extends Box {
  /** Name of the scope. */
  scope: string;
  of: string;
  text: string;
  branch: number | 'default';
}
export const isPlace = (i: StepBox | Place): i is Place => 'empty' in i;

/** A place where a step can be put. */
export interface Place {
  x: number;
  y: number;
  scope: string;
  index: number;
  /** It is all that stands in its list. */
  empty: boolean;
}
export interface Line {
  d: string;
  /** The scope that it belongs to. */
  scope: string;
  dashed?: boolean;
}
export interface Graph {
  w: number;
  h: number;
  input: Box;
  result: Box;
  /** Steps and places for steps, in the order in which they are read. */
  items: (StepBox | Place)[];
  frames: Frame[];
  labels: Label[];
  lines: Line[];
}

const W = 208;
const H = 52;
const GAP = 34;
const PAD = 18;
const BETWEEN = 16;
const LABEL = 24;
const EMPTY = 34;
const END_W = 132;
const END_H = 34;

interface Size {
  w: number;
  h: number;
}

function sizeOf(m: Module): Size {
  if (!isContainer(m)) return { w: W, h: H };
  const scopes = scopesOf(m);
  const inner = scopes.map((s) => sizeOfList(s.list));
  const widths = inner.map((s) => Math.max(s.w, W));
  const head = isLoop(m) ? 0 : LABEL + GAP;
  return {
    w: widths.reduce((a, b) => a + b, 0) + BETWEEN * Math.max(scopes.length - 1, 0) + 2 * PAD,
    h: H + GAP + head + Math.max(EMPTY, ...inner.map((s) => s.h)) + GAP,
  };
}

function sizeOfList(list: Module[]): Size {
  if (list.length === 0) return { w: W, h: EMPTY };
  const sizes = list.map(sizeOf);
  return { w: Math.max(...sizes.map((s) => s.w)), h: sizes.reduce((a, s) => a + s.h, 0) + GAP * (list.length - 1) };
}

const straight = (x: number, y1: number, y2: number) => `M${x} ${y1}V${y2}`;
/** curve goes down from a point to another, level at neither end. */
function curve(x1: number, y1: number, x2: number, y2: number): string {
  if (x1 === x2) return straight(x1, y1, y2);
  const mid = (y1 + y2) / 2;
  return `M${x1} ${y1}C${x1} ${mid} ${x2} ${mid} ${x2} ${y2}`;
}

class Drawing {
  items: (StepBox | Place)[] = [];
  frames: Frame[] = [];
  labels: Label[] = [];
  lines: Line[] = [];

  /** list draws steps below each other from y on and returns where it ends. */
  list(list: Module[], scope: string, cx: number, y: number): number {
    if (list.length === 0) {
      this.items.push({ x: cx, y: y + EMPTY / 2, scope, index: 0, empty: true });
      return y + EMPTY;
    }
    for (const [i, m] of list.entries()) {
      if (i > 0) {
        this.lines.push({ d: straight(cx, y, y + GAP), scope });
        this.items.push({ x: cx, y: y + GAP / 2, scope, index: i, empty: false });
        y += GAP;
      }
      y = this.step(m, cx, y);
    }
    return y;
  }

  step(m: Module, cx: number, y: number): number {
    this.items.push({ id: m.id, module: m, role: 'step', x: cx - W / 2, y, w: W, h: H });
    if (!isContainer(m)) return y + H;
    const size = sizeOf(m);
    const end = y + size.h;
    this.frames.push({ id: m.id, x: cx - size.w / 2, y: y + H / 2, w: size.w, h: size.h - H / 2 });
    const scopes = scopesOf(m);
    const widths = scopes.map((s) => Math.max(sizeOfList(s.list).w, W));
    let x = cx - size.w / 2 + PAD;
    for (const [i, s] of scopes.entries()) {
      const mid = x + widths[i]! / 2;
      let top = y + H + GAP;
      this.lines.push({ d: curve(cx, y + H, mid, top), scope: s.name });
      if (s.branch !== undefined) {
        this.labels.push({ scope: s.name, of: m.id, text: s.label, branch: s.branch, x: x, y: top, w: widths[i]!, h: LABEL });
        top += LABEL;
        this.lines.push({ d: straight(mid, top, top + GAP), scope: s.name });
        if (s.list.length > 0) this.items.push({ x: mid, y: top + GAP / 2, scope: s.name, index: 0, empty: false });
        top += GAP;
      } else if (s.list.length > 0) this.items.push({ x: mid, y: top - GAP / 2, scope: s.name, index: 0, empty: false });
      const bottom = this.list(s.list, s.name, mid, top);
      if (s.list.length > 0) this.items.push({ x: mid, y: bottom + GAP / 2, scope: s.name, index: s.list.length, empty: false });
      this.lines.push({ d: straight(mid, bottom, end - GAP) + curve(mid, end - GAP, cx, end).replace('M', 'L'), scope: s.name });
      x += widths[i]! + BETWEEN;
    }
    return end;
  }
}

/** layout places a flow. */
export function layout(v: FlowValue): Graph {
  const modules = v.modules ?? [];
  const size = sizeOfList(modules);
  const w = Math.max(size.w, W) + 2 * PAD;
  const cx = w / 2;
  const d = new Drawing();
  let y = PAD;
  if (v.preprocessor_module) {
    d.items.push({ id: preprocessorId(v), module: v.preprocessor_module, role: 'preprocessor', x: cx - W / 2, y, w: W, h: H });
    d.lines.push({ d: straight(cx, y + H, y + H + GAP), scope: '' });
    y += H + GAP;
  }
  const input = { x: cx - END_W / 2, y, w: END_W, h: END_H };
  y += END_H;
  d.lines.push({ d: straight(cx, y, y + GAP), scope: '' });
  if (modules.length > 0) d.items.push({ x: cx, y: y + GAP / 2, scope: '', index: 0, empty: false });
  y = d.list(modules, '', cx, y + GAP);
  d.lines.push({ d: straight(cx, y, y + GAP), scope: '' });
  if (modules.length > 0) d.items.push({ x: cx, y: y + GAP / 2, scope: '', index: modules.length, empty: false });
  y += GAP;
  const result = { x: cx - END_W / 2, y, w: END_W, h: END_H };
  y += END_H;
  if (v.failure_module) {
    d.lines.push({ d: straight(cx, y, y + GAP), scope: '', dashed: true });
    d.items.push({ id: failureId(v), module: v.failure_module, role: 'failure', x: cx - W / 2, y: y + GAP, w: W, h: H });
    y += GAP + H;
  }
  return { w, h: y + PAD, input, result, items: d.items, frames: d.frames, labels: d.labels, lines: d.lines };
}
