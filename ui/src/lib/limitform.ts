// The three inputs of a limit, as they are typed, judged as the server would. Pure.
import type { LimitFields } from '../api/types';
import { text } from '../text';

export interface LimitForm {
  n: string;
  w: string;
  key: string;
  from: 'end' | 'start';
  onLimit: 'queue' | 'fail';
}

export interface Judged {
  fields: LimitFields;
  problems: { n?: string; w?: string; key?: string };
}

/** formOf is what stands in the inputs of a limit. */
export function formOf(l: LimitFields & { on_concurrency_limit?: string | null }): LimitForm {
  return {
    n: l.concurrent_limit == null ? '' : String(l.concurrent_limit),
    w: l.concurrency_time_window_s == null ? '' : String(l.concurrency_time_window_s),
    key: l.concurrency_key ?? '',
    from: l.concurrency_window_from === 'start' ? 'start' : 'end',
    onLimit: l.on_concurrency_limit === 'fail' ? 'fail' : 'queue',
  };
}

const whole = /^\d+$/;

export function judge(f: LimitForm): Judged {
  const problems: Judged['problems'] = {};
  const n = f.n.trim();
  const w = f.w.trim();
  if (n !== '' && (!whole.test(n) || Number(n) < 1 || Number(n) > 1_000_000)) problems.n = text.script.badN;
  if (w !== '' && (!whole.test(w) || Number(w) > 2_678_400)) problems.w = text.script.badW;
  else if (f.from === 'start' && n !== '' && Number(w || 0) < 1) problems.w = text.script.badStart;
  if (n === '' && f.key !== '') problems.key = text.script.badKey;
  if (n === '' || Object.keys(problems).length > 0) return { fields: {}, problems };
  const fields: LimitFields = { concurrent_limit: Number(n) };
  if (w !== '') fields.concurrency_time_window_s = Number(w);
  if (f.from === 'start') fields.concurrency_window_from = 'start';
  if (f.key !== '') fields.concurrency_key = f.key;
  return { fields, problems };
}

/** resolve shows what a key becomes with some arguments; the server decides at the push. */
export function resolve(template: string, workspace: string, fallback: string, args: Record<string, unknown>): string {
  if (template === '') return fallback;
  return template.replace(/\$workspace|\$args\[([^\]]*)\]/g, (m, name: string | undefined) => {
    if (name === undefined) return m === '$workspace' ? workspace : '';
    let v: unknown = args;
    for (const part of name.split('.')) v = v !== null && typeof v === 'object' ? (v as Record<string, unknown>)[part] : undefined;
    if (v === undefined) return '';
    return typeof v === 'string' ? v : JSON.stringify(v);
  });
}
