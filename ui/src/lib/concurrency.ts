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

/** An execution on a lane of a group's page. */
export interface Bar<T> {
  of: T;
  lane: number;
  start: number;
  end: number;
  /** Until when it goes on to count; end if there is no window. */
  until: number;
}

/** lanes lays executions on as few lanes as hold them, each free again once what lies on it counts no longer. */
export function lanes<T>(runs: { of: T; start: number; end: number; until: number }[]): Bar<T>[] {
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

/** ticks returns round instants between two, at most so many. */
export function timeTicks(from: number, to: number, most: number): number[] {
  const units = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000].map((s) => s * 1000);
  const unit = units.find((u) => (to - from) / u <= most) ?? units.at(-1)!;
  const shift = unit >= 3_600_000 ? new Date(from).getTimezoneOffset() * 60_000 : 0;
  const out: number[] = [];
  for (let t = Math.ceil((from - shift) / unit) * unit + shift; t <= to; t += unit) out.push(t);
  return out;
}
