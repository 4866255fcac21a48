// What a chart shows of runs over time. Pure: instants in, points out.

/** A run on the time axis, in milliseconds; end is NaN while it runs, start NaN while it waits. */
export interface Span {
  due: number;
  start: number;
  end: number;
}

export interface Step {
  at: number;
  running: number;
  waiting: number;
}

/** steps counts at each instant at which it changes how many ran and how many waited. */
export function steps(spans: Span[], now: number): Step[] {
  const changes: [number, number, number][] = [];
  for (const s of spans) {
    const started = Number.isFinite(s.start);
    const ended = Number.isFinite(s.end);
    if (Number.isFinite(s.due) && s.due <= now) {
      const until = started ? s.start : ended ? s.end : now;
      if (until > s.due) {
        changes.push([s.due, 0, 1]);
        if (started || ended) changes.push([until, 0, -1]);
      }
    }
    if (started) {
      changes.push([s.start, 1, 0]);
      if (ended) changes.push([Math.max(s.end, s.start), -1, 0]);
    }
  }
  // At one instant ends come before starts: a slot that frees at t is free at t.
  changes.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const out: Step[] = [];
  let running = 0;
  let waiting = 0;
  for (const [at, r, w] of changes) {
    running += r;
    waiting += w;
    const last = out.at(-1);
    if (last && last.at === at) {
      last.running = running;
      last.waiting = waiting;
    } else out.push({ at, running, waiting });
  }
  return out;
}

/** lanes lays executions on as few lanes as hold them, each free again once what lies on it counts no longer. */
export function lanes<R extends { start: number; end: number; until: number }>(runs: R[]): (R & { lane: number })[] {
  const free: number[] = [];
  return [...runs]
    .sort((a, b) => a.start - b.start)
    .map((r) => {
      const occupied = Math.max(r.until, r.end);
      let lane = free.findIndex((at) => at <= r.start);
      if (lane < 0) lane = free.length;
      free[lane] = occupied;
      return { ...r, until: occupied, lane };
    });
}

/** What happened in a group in one of the equal parts of a time. */
export interface Part {
  from: number;
  to: number;
  /** Slots held on the average. */
  held: number;
  /** Of these, and of what had ended and still counted, on the average. */
  used: number;
  /** How many started, and how long half of them, and 95% of them, had waited at most; NaN if none did. */
  starts: number;
  p50: number;
  p95: number;
}

/** history divides a time into parts and says what held slots and how long starts had waited. */
export function history(runs: { due: number; start: number; end: number; until: number }[], from: number, to: number, parts: number): Part[] {
  const size = (to - from) / parts;
  const held = new Array<number>(parts).fill(0);
  const used = new Array<number>(parts).fill(0);
  const waits = Array.from({ length: parts }, (): number[] => []);
  const spread = (into: number[], start: number, end: number) => {
    const first = Math.max(Math.floor((start - from) / size), 0);
    const last = Math.min(Math.floor((Math.min(end, to) - from) / size), parts - 1);
    for (let i = first; i <= last; i++) into[i]! += Math.max(Math.min(end, from + (i + 1) * size) - Math.max(start, from + i * size), 0) / size;
  };
  for (const r of runs) {
    spread(held, r.start, r.end);
    spread(used, r.start, r.until);
    const first = Math.max(Math.floor((r.start - from) / size), 0);
    if (r.start >= from && r.start < to && Number.isFinite(r.due)) waits[first]?.push(Math.max(r.start - r.due, 0));
  }
  return waits.map((w, i) => {
    w.sort((a, b) => a - b);
    const at = (q: number) => (w.length === 0 ? NaN : w[Math.max(Math.ceil(q * w.length) - 1, 0)]!);
    return { from: from + i * size, to: from + (i + 1) * size, held: held[i]!, used: used[i]!, starts: w.length, p50: at(0.5), p95: at(0.95) };
  });
}

/** ticks returns round instants between two, at most so many. */
export function timeTicks(from: number, to: number, most: number): number[] {
  const units = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000].map((s) => s * 1000);
  const unit = units.find((u) => (to - from) / u <= most) ?? units.at(-1)!;
  const shift = unit >= 3_600_000 ? new Date(from).getTimezoneOffset() * 60_000 : 0;
  const out: number[] = [];
  for (let t = Math.ceil((from - shift) / unit) * unit + shift; t <= to; t += unit) out.push(t);
  return out;
}
