// A schedule's expression in words. When it falls due is the server's to say;
// what cannot be said simply is not said. Pure.
import { text } from '../text';

const t = text.cron;
const short = { days: ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'], months: ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'] };
const named: Record<string, string> = { '@yearly': '0 0 0 1 1 *', '@annually': '0 0 0 1 1 *', '@monthly': '0 0 0 1 * *', '@weekly': '0 0 0 * * 0', '@daily': '0 0 0 * * *', '@midnight': '0 0 0 * * *', '@hourly': '0 0 * * * *' };

/** Unsaid is thrown at what has no words here. */
class Unsaid extends Error {}

type Field = { kind: 'all' } | { kind: 'step'; from: number; by: number } | { kind: 'values'; parts: (number | [number, number])[] };

function field(source: string, names: string[] = [], offset = 0): Field {
  const number = (s: string): number => {
    const i = names.indexOf(s.toUpperCase());
    if (i >= 0) return i + offset;
    if (!/^\d{1,4}$/.test(s)) throw new Unsaid();
    return Number(s);
  };
  if (source === '*' || source === '?') return { kind: 'all' };
  const step = /^(\*|\d+)\/(\d+)$/.exec(source);
  if (step) return step[1] === '*' && step[2] === '1' ? { kind: 'all' } : { kind: 'step', from: step[1] === '*' ? -1 : Number(step[1]), by: Number(step[2]) };
  return {
    kind: 'values',
    parts: source.split(',').map((p) => {
      const [a, b, ...more] = p.split('-');
      if (more.length > 0 || p.includes('/')) throw new Unsaid();
      return b === undefined ? number(a!) : [number(a!), number(b)];
    }),
  };
}

const two = (n: number) => String(n).padStart(2, '0');
function list(words: string[]): string {
  return words.length < 2 ? (words[0] ?? '') : words.slice(0, -1).join(', ') + t.and + words.at(-1)!;
}
const single = (f: Field): number | undefined => (f.kind === 'values' && f.parts.length === 1 && typeof f.parts[0] === 'number' ? f.parts[0] : undefined);
const singles = (f: Field): number[] | undefined => (f.kind === 'values' && f.parts.every((p) => typeof p === 'number') ? (f.parts as number[]) : undefined);
const spans = (f: Field & { kind: 'values' }, say: (n: number) => string) => list(f.parts.map((p) => (typeof p === 'number' ? say(p) : t.fromTo(say(p[0]), say(p[1])))));

/** cronWords says when an expression falls due; "": it has no words for it. */
export function cronWords(expression: string, version = 'v2'): string {
  const parts = (named[expression.trim().toLowerCase()] ?? expression).trim().split(/\s+/);
  if (parts.length === 5) parts.unshift('0');
  if (parts.length !== 6 && parts.length !== 7) return '';
  try {
    const [clock, often] = timeWords(field(parts[0]!), field(parts[1]!), field(parts[2]!));
    const days = dayWords(parts[3]!, parts[5]!, version);
    const months = field(parts[4]!, short.months, 1);
    const years = field(parts[6] ?? '*');
    const out = [clock, days || (often || months.kind !== 'all' ? '' : t.everyDay)];
    if (months.kind === 'step') throw new Unsaid();
    if (months.kind === 'values') out.push(t.inMonths(spans(months, (n) => t.months[n - 1] ?? unsaid())));
    if (years.kind === 'step') throw new Unsaid();
    if (years.kind === 'values') out.push(t.inYears(spans(years, String)));
    if (!often && months.kind === 'all' && !days) out.reverse(); // every day at 08:00
    const said = out.filter((w) => w !== '').join(' ');
    return said.charAt(0).toUpperCase() + said.slice(1) + '.';
  } catch (e) {
    if (e instanceof Unsaid) return '';
    throw e;
  }
}

function unsaid(): never {
  throw new Unsaid();
}

/** timeWords says the time of the day, and whether it comes more often than some times a day. */
function timeWords(sec: Field, min: Field, hour: Field): [string, boolean] {
  const s = single(sec);
  const m = single(min);
  const hours = singles(hour);
  if (s !== undefined && singles(min) && hours && hours.length * singles(min)!.length <= 6) {
    const times = hours.flatMap((h) => singles(min)!.map((n) => `${two(h)}:${two(n)}${s ? ':' + two(s) : ''}`));
    return [t.at(list(times)), false];
  }
  let often: string;
  let within = hour;
  if (s === undefined) {
    if (min.kind !== 'all') unsaid();
    often = sec.kind === 'all' ? t.everySecond : sec.kind === 'step' && sec.from <= 0 && 60 % sec.by === 0 ? t.everySeconds(sec.by) : unsaid();
  } else if (min.kind === 'all') often = t.everyMinute;
  else if (min.kind === 'step') often = min.from <= 0 && 60 % min.by === 0 ? t.everyMinutes(min.by) : unsaid();
  else if (hour.kind === 'step' && m !== undefined) {
    if (hour.from > 0 || 24 % hour.by !== 0) unsaid();
    often = m === 0 ? t.everyHours(hour.by) : t.everyHoursAt(hour.by, two(m));
    within = { kind: 'all' };
  } else often = m === 0 ? t.everyHour : t.everyHourAt(spans(min, two));
  if (s) often += t.atSecond(s);
  if (within.kind === 'step') unsaid();
  if (within.kind === 'values') {
    const [p, ...more] = within.parts;
    // The last time of an hour: of one that comes each minute its end.
    const last = min.kind === 'values' && m !== undefined ? two(m) : min.kind === 'step' ? two(60 - min.by) : '59';
    often += ' ' + (more.length === 0 && Array.isArray(p) ? t.between(`${two(p[0])}:${m !== undefined ? two(m) : '00'}`, `${two(p[1])}:${last}`) : t.duringHours(spans(within, (h) => String(h))));
  }
  return [often, true];
}

function dayWords(dom: string, dow: string, version: string): string {
  const ofMonth = monthDays(dom);
  const ofWeek = weekDays(dow, version);
  if (ofMonth && ofWeek) return `${ofMonth} ${t.andAlso(ofWeek)}`;
  return ofMonth || (ofWeek && t.onDays(ofWeek));
}

function monthDays(source: string): string {
  if (source === '*' || source === '?') return '';
  const step = /^(?:\*|1)\/(\d+)$/.exec(source);
  if (step) return step[1] === '1' ? '' : t.everyDays(Number(step[1]));
  const days = source.toUpperCase().split(',').map((p) => {
    const back = /^L-(\d+)$/.exec(p);
    const near = /^(\d+)W$/.exec(p);
    if (p === 'L') return t.lastDay;
    if (p === 'LW') return t.lastWeekday;
    if (back) return t.beforeLast(Number(back[1]));
    if (near) return t.nearest(t.theNth(Number(near[1])));
    const f = field(p);
    return f.kind === 'values' ? spans(f, t.theNth) : unsaid();
  });
  return t.ofMonth(list(days));
}

function weekDays(source: string, version: string): string {
  const base = version === 'v1' ? 1 : 0;
  const day = (n: number) => t.days[n === 7 && base === 0 ? 0 : n - base] ?? unsaid();
  const words = source.toUpperCase().split(',').map((p) => {
    const nth = /^(\w+)#([1-5L])$/.exec(p) ?? (/^[A-Z]*\d?L$/.test(p) && p !== 'L' ? [p, p.slice(0, -1), 'L'] : undefined);
    const of = (s: string) => {
      const f = field(s, short.days, base);
      return f.kind === 'values' ? spans(f, day) : unsaid();
    };
    if (p === '*' || p === '?') return '';
    if (nth) return nth[2] === 'L' ? t.lastDayOf(of(nth[1]!)) : t.nthDay(t.nth[Number(nth[2])]!, of(nth[1]!));
    return of(p === 'L' ? 'SAT' : p);
  });
  return words.includes('') ? '' : list(words);
}
