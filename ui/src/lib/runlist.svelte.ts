// The list of runs behind the home page: what the server finds for a filter, in
// pieces, and what happens to it since.
import type { operations } from '../api/schema';
import type { Job } from '../api/types';
import { api, ok, say } from './api';
import { clock } from './clock.svelte';
import { stateOf } from './jobs';
import { Refresh } from './refresh';
import { ms } from './format';

export interface Filter {
  path: string;
  key: string | undefined;
  state: string;
  kind: string;
  by: string;
  label: string;
  tag: string;
  schedule: string;
  from: string;
  to: string;
  /** JSON that the arguments, and that the result, must hold. */
  args: string;
  result: string;
  steps: boolean;
}

const names = ['path', 'state', 'kind', 'by', 'label', 'tag', 'schedule', 'from', 'to', 'args', 'result'] as const;

export function readFilter(q: URLSearchParams): Filter {
  const f: Record<string, unknown> = { key: q.get('key') ?? undefined, steps: q.get('steps') === '1' };
  for (const n of names) f[n] = q.get(n) ?? '';
  return f as unknown as Filter;
}

export function writeFilter(f: Filter): URLSearchParams {
  const q = new URLSearchParams();
  for (const n of names) if (f[n] !== '') q.set(n, f[n]);
  if (f.key !== undefined) q.set('key', f.key); // an empty key is a key
  if (f.steps) q.set('steps', '1');
  return q;
}

export function isFiltered(f: Filter): boolean {
  return writeFilter(f).size > 0;
}

const PIECE = 500;
/** So many runs are kept; the oldest go. */
const MOST = 100_000;

type Query = NonNullable<operations['listJobs']['parameters']['query']>;

function listCall(workspace: string, query: Query, where: 'all' | 'queue' | 'completed') {
  const init = { params: { path: { workspace }, query } };
  switch (where) {
    case 'queue':
      return api.GET('/api/w/{workspace}/jobs/queue/list', init);
    case 'completed':
      return api.GET('/api/w/{workspace}/jobs/completed/list', init);
    default:
      return api.GET('/api/w/{workspace}/jobs/list', init);
  }
}

/** asked is what to ask the server for a filter. */
export function asked(f: Filter): { where: 'all' | 'queue' | 'completed'; query: Query } {
  const q: Query = {};
  if (f.path) q.script_path_start = f.path;
  if (f.key !== undefined) q.concurrency_key = f.key;
  if (f.kind) q.job_kinds = f.kind;
  if (f.by) q.created_by = f.by;
  if (f.label) q.label = f.label;
  if (f.tag) q.tag = f.tag;
  if (f.schedule) q.schedule_path = f.schedule;
  if (f.from) q.created_after = f.from;
  if (f.to) q.created_before = f.to;
  if (f.args) q.args = f.args;
  if (f.result) q.result = f.result;
  if (!f.steps) q.is_flow_step = false;
  switch (f.state) {
    case 'running':
      return { where: 'queue', query: { ...q, running: true } };
    case 'waiting':
      return { where: 'queue', query: { ...q, running: false, scheduled_for_before_now: true } };
    case 'scheduled':
      return { where: 'queue', query: { ...q, scheduled_for_after_now: true } };
    case 'success':
      return { where: 'completed', query: { ...q, success: true } };
    case 'failure':
    case 'canceled':
      return { where: 'completed', query: { ...q, status: f.state } };
    default:
      return { where: 'all', query: q };
  }
}

/** What a filter finds now: ids, so that what is confirmed is what is done. */
export interface Found {
  running: string[];
  waiting: string[];
  /** What can be run again, and whether there is more. */
  again: string[];
  cut: boolean;
}

/** So many ids are asked for, and so many runs are pushed again at once. */
const MOST_FOUND = 100_000;
export const MOST_AGAIN = 10_000;

/** toCancel finds what has not ended of all that matches. */
export async function toCancel(workspace: string, f: Filter): Promise<Found> {
  const { where, query } = asked(f);
  const ids = (more: Query) =>
    where === 'completed' || (query.running !== undefined && query.running !== more.running)
      ? Promise.resolve([])
      : ok(api.GET('/api/w/{workspace}/jobs/queue/list_filtered_uuids', { params: { path: { workspace }, query: { ...query, ...more, per_page: MOST_FOUND } } }));
  const [running, waiting] = await Promise.all([ids({ running: true }), ids({ running: false })]);
  return { running, waiting, again: [], cut: running.length >= MOST_FOUND || waiting.length >= MOST_FOUND };
}

/** toRerun finds the newest runs of scripts and flows of all that matches. */
export async function toRerun(workspace: string, f: Filter): Promise<Found> {
  const { where, query } = asked(f);
  const kinds = ['script', 'flow'].filter((k) => f.kind === '' || f.kind === k);
  const init = { params: { path: { workspace }, query: { ...query, job_kinds: kinds.join(','), per_page: MOST_AGAIN + 1 } } };
  let again: string[] = [];
  if (kinds.length > 0 && where === 'queue') again = await ok(api.GET('/api/w/{workspace}/jobs/queue/list_filtered_uuids', init));
  else if (kinds.length > 0) again = await ok(api.GET('/api/w/{workspace}/jobs/list_filtered_uuids', init));
  return { running: [], waiting: [], again: again.slice(0, MOST_AGAIN), cut: again.length > MOST_AGAIN };
}

/** matches says of a changed job what the server would say of it, but for what it holds. */
export function matches(f: Filter, j: Job, now: number): boolean {
  const among = (value: string | undefined, list: string) => list === '' || list.split(',').some((v) => v.trim() === (value ?? ''));
  return (
    (f.path === '' || (j.script_path ?? '').startsWith(f.path)) &&
    (f.key === undefined || j.concurrency_key === f.key) &&
    among(j.job_kind, f.kind) &&
    among(j.created_by, f.by) &&
    among(j.tag, f.tag) &&
    among(j.schedule_path, f.schedule) &&
    (f.label === '' || (j.labels ?? []).includes(f.label)) &&
    (f.steps || !j.is_flow_step) &&
    (f.from === '' || ms(j.created_at) > ms(f.from)) &&
    (f.to === '' || ms(j.created_at) < ms(f.to)) &&
    (f.state === '' || stateOf(j, now) === f.state)
  );
}

export class RunList {
  /** Newest first. */
  jobs = $state.raw<Job[]>([]);
  loading = $state(true);
  /** All that the server has is here. */
  whole = $state(false);
  error = $state('');

  #workspace: string;
  #filter: Filter;
  #known = new Set<string>();
  #page = 1;
  #run = 0;
  // What fresh runs hold is not told with what happens: the server is asked.
  #look = new Refresh(2000, () => this.#next(true));

  constructor(workspace: string, filter: Filter) {
    this.#workspace = workspace;
    this.#filter = filter;
    void this.#next();
  }

  /** more asks for the next piece, unless one is on its way or all is here. */
  more(): void {
    if (!this.loading && !this.whole && this.error === '') void this.#next();
  }

  /** again reads the newest piece anew: something may have been missed. */
  again(): void {
    void this.#next(true);
  }

  async #next(renew = false): Promise<void> {
    if (renew) {
      this.#page = 1;
      this.whole = false;
    }
    const run = ++this.#run;
    this.loading = true;
    this.error = '';
    const { where, query } = asked(this.#filter);
    try {
      const got = (await ok(listCall(this.#workspace, { ...query, page: this.#page, per_page: PIECE }, where))) as Job[];
      if (run !== this.#run) return;
      this.#page++;
      this.whole = got.length < PIECE || this.jobs.length >= MOST;
      const fit = got.filter((j) => this.#filter.state === '' || stateOf(j, clock.now) === this.#filter.state);
      if (renew) this.take(fit, true);
      else this.#append(fit);
    } catch (e) {
      if (run === this.#run) this.error = say(e);
    } finally {
      if (run === this.#run) this.loading = false;
    }
    // A piece of which nothing fits is not the end, and nobody scrolls an empty list.
    if (run === this.#run && this.error === '' && !this.whole && this.jobs.length === 0) void this.#next();
  }

  #append(jobs: Job[]): void {
    const fresh = jobs.filter((j) => !this.#known.has(j.id));
    for (const j of fresh) this.#known.add(j.id);
    this.jobs = [...this.jobs, ...fresh];
  }

  /** take brings in changes: of runs that are listed, and new ones. */
  take(changed: Job[], found = false): void {
    clock.tick(); // what happened just now is not to come
    const now = clock.now;
    const by = new Map<string, Job>();
    for (const j of changed) by.set(j.id, j);
    let next: Job[] = [];
    for (const j of this.jobs) {
      const c = by.get(j.id);
      if (!c) {
        next.push(j);
        continue;
      }
      by.delete(j.id);
      if (matches(this.#filter, c, now)) next.push(c);
      else this.#known.delete(c.id);
    }
    const fresh = [...by.values()].filter((j) => !this.#known.has(j.id) && matches(this.#filter, j, now));
    if (fresh.length > 0 && !found && (this.#filter.args || this.#filter.result)) this.#look.ask();
    else if (fresh.length > 0) {
      for (const j of fresh) this.#known.add(j.id);
      const oldest = this.whole ? '' : (next.at(-1)?.created_at ?? '');
      const newer = fresh.filter((j) => j.created_at >= oldest);
      const sorted = newer.sort((a, b) => (a.created_at < b.created_at ? 1 : a.created_at > b.created_at ? -1 : 0));
      next = merge(sorted, next);
    }
    for (const j of next.splice(MOST)) this.#known.delete(j.id);
    this.jobs = next;
  }
}

/** merge puts two lists into one, newest first; of equals the first list's come first. */
function merge(a: Job[], b: Job[]): Job[] {
  if (b.length === 0 || a.length === 0 || a.at(-1)!.created_at >= b[0]!.created_at) return [...a, ...b];
  const out: Job[] = [];
  let i = 0;
  let k = 0;
  while (i < a.length || k < b.length) {
    if (k >= b.length || (i < a.length && a[i]!.created_at >= b[k]!.created_at)) out.push(a[i++]!);
    else out.push(b[k++]!);
  }
  return out;
}
