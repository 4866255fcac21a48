import type { Limit, LimitFields } from '../api/types';
import { text } from '../text';

/** ms reads an instant of the API; NaN if there is none. */
export function ms(instant: string | null | undefined): number {
  return instant ? Date.parse(instant) : NaN;
}

/** duration writes milliseconds as a person says them: 8 ms, 1.2 s, 3 min 4 s, 2 h 5 min. */
export function duration(v: number): string {
  if (!Number.isFinite(v)) return '–';
  if (v < 0) v = 0;
  if (v < 1000) return `${Math.round(v)} ms`;
  const s = v / 1000;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 59.5) return `${Math.round(s)} s`;
  const total = Math.round(s);
  if (total < 3600) return pair(Math.floor(total / 60), 'min', total % 60, 's');
  if (total < 86400) return pair(Math.floor(total / 3600), 'h', Math.floor((total % 3600) / 60), 'min');
  return pair(Math.floor(total / 86400), 'd', Math.floor((total % 86400) / 3600), 'h');
}

function pair(a: number, unitA: string, b: number, unitB: string): string {
  return b === 0 ? `${a} ${unitA}` : `${a} ${unitA} ${b} ${unitB}`;
}

/** countdown writes the time to an instant in whole seconds, rounded up, since it is not there before. */
export function countdown(left: number): string {
  return duration(Math.max(Math.ceil(left / 1000), 0) * 1000 || 0).replace(/^0 ms$/, '0 s').replace(/\.0 s$/, ' s');
}

/** age writes how long ago something was in whole seconds, rounded down. */
export function age(passed: number): string {
  return duration(Math.max(Math.floor(passed / 1000), 0) * 1000 || 0).replace(/^0 ms$/, '0 s').replace(/\.0 s$/, ' s');
}

const clockTime = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
const dayTime = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hour12: false });
const yearTime = new Intl.DateTimeFormat(undefined, { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hour12: false });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'long', hour12: false });
const number = new Intl.NumberFormat(undefined);

/** time writes an instant as shortly as it can be understood at another. */
export function time(at: number, now: number): string {
  if (!Number.isFinite(at)) return '–';
  const a = new Date(at);
  const b = new Date(now);
  if (a.toDateString() === b.toDateString()) return clockTime.format(a);
  return a.getFullYear() === b.getFullYear() ? dayTime.format(a) : yearTime.format(a);
}

const zoned = new Map<string, Intl.DateTimeFormat | undefined>();

/** zoneTime writes an instant as the clocks of a zone show it: Fri, 28 Nov, 08:00. */
export function zoneTime(at: number, zone: string): string {
  if (!Number.isFinite(at)) return '–';
  if (!zoned.has(zone)) {
    try {
      zoned.set(zone, new Intl.DateTimeFormat(undefined, { timeZone: zone, weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hour12: false }));
    } catch {
      zoned.set(zone, undefined); // one that this browser does not know
    }
  }
  return zoned.get(zone)?.format(new Date(at)) ?? new Date(at).toISOString();
}

/** exact writes an instant with its day, its zone and its milliseconds, for a tooltip. */
export function exact(at: number): string {
  if (!Number.isFinite(at)) return '';
  return `${whole.format(new Date(at))} (${new Date(at).toISOString()})`;
}

export function count(n: number): string {
  return number.format(n);
}

export function plural(n: number, one: string, many: string): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** windowWords writes a window of whole seconds: 60 s, 5 min, 1 h. */
export function windowWords(seconds: number): string {
  return duration(seconds * 1000).replace('.0 s', ' s');
}

/** limitWords says in a sentence what a limit does. */
export function limitWords(l: Limit | LimitFields): string {
  const n = l.concurrent_limit;
  if (n === undefined || n === null) return text.limit.none;
  const w = l.concurrency_time_window_s ?? 0;
  const runs = plural(n, text.limit.execution, text.limit.executions);
  if (w === 0) return text.limit.atOnce(runs);
  return l.concurrency_window_from === 'start' ? text.limit.fromStart(runs, windowWords(w)) : text.limit.fromEnd(runs, windowWords(w));
}

export function limitShort(l: Limit | LimitFields): string {
  if (l.concurrent_limit === undefined || l.concurrent_limit === null) return text.limit.noneShort;
  const w = l.concurrency_time_window_s ?? 0;
  const n = count(l.concurrent_limit);
  return w === 0 ? text.limit.shortAtOnce(n) : text.limit.short(n, windowWords(w));
}
