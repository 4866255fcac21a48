// How far a run of a flow is, step by step: what the run says of its modules,
// and, within loops and branches, what the runs of those say of theirs.
import type { FlowModule, FlowStatus, Job, Wait } from '../api/types';
import { api, ok } from './api';
import { find, isContainer, isLoop, type FlowValue } from './flow';
import { count, limitShort } from './format';
import { ended, isFlow, stateOf, type State } from './jobs';
import { clock } from './clock.svelte';
import { Refresh } from './refresh';
import { text } from '../text';

export interface StepRun {
  state: State;
  /** In words, such as: 3 of 10 done. */
  note: string;
  /** Of its newest job; "": none. */
  job: string;
  /** Why it waits, if it does. */
  wait?: Wait;
  /** The flow waits for approvals after it: of this job, which is the step's, or that of the flow if the step has none. */
  approvals?: { needed: number; given: string[]; until: string; job: string };
  /** Of a loop or all branches: their jobs, and how each ended; null: not yet. */
  children?: { job: string; success: boolean | null }[];
  /** Which of them is shown within. */
  chosen?: number;
  failedRetries: string[];
  /** It is a flow, within which an approval is waited for. */
  within?: boolean;
}

const NONE = '00000000-0000-0000-0000-000000000000';
/** So many branches and waiting steps are asked about at a time. */
const MOST = 24;

export class FlowRun {
  job = $state.raw<Job>();
  /** The outermost flow: it is its starter who may approve. */
  root = $state.raw<Job>();
  value = $state.raw<FlowValue>();
  steps = $state.raw<Record<string, StepRun>>({});
  /** Scopes that were not taken: branches that were not chosen. */
  unused = $state.raw<Set<string>>(new Set());

  #workspace: string;
  #id: string;
  #children = new Map<string, Job>();
  #tree = new Set<string>();
  #picked = new Map<string, number>();
  #refresh = new Refresh(400, () => this.#load());
  #slow: ReturnType<typeof setInterval>;
  #closed = false;

  constructor(workspace: string, id: string) {
    this.#workspace = workspace;
    this.#id = id;
    this.#tree.add(id);
    this.#refresh.ask();
    this.#slow = setInterval(() => this.job && !ended(this.job) && !document.hidden && this.#refresh.ask(), 2500);
  }

  /** notice is told of jobs that have changed. */
  notice(jobs: Job[]): void {
    if (jobs.some((j) => this.#tree.has(j.id) || (j.parent_job !== undefined && this.#tree.has(j.parent_job)) || (j.concurrency_key !== undefined && this.#waitsFor(j.concurrency_key)))) this.#refresh.ask();
  }

  /** pick has the steps within a loop be those of one of its iterations. */
  pick(id: string, n: number): void {
    this.#picked.set(id, n);
    this.#refresh.ask();
  }

  /** again looks at once: somebody has done something. */
  again(): void {
    this.#refresh.ask();
  }

  close(): void {
    this.#closed = true;
    this.#refresh.stop();
    clearInterval(this.#slow);
  }

  #waitsFor(key: string): boolean {
    return Object.values(this.steps).some((s) => s.wait?.key === key);
  }

  async #get(id: string, code: boolean): Promise<Job> {
    return (await ok(api.GET('/api/w/{workspace}/jobs_u/get/{id}', { params: { path: { workspace: this.#workspace, id }, query: { no_logs: true, no_code: !code } } }))) as Job;
  }

  async #load(): Promise<void> {
    try {
      const job = await this.#get(this.#id, this.value === undefined);
      if (job.raw_flow) this.value = job.raw_flow as FlowValue;
      this.#tree = new Set([this.#id]);
      const steps: Record<string, StepRun> = {};
      const unused = new Set<string>();
      if (job.flow_status) await this.#spread(this.#id, job.flow_status as FlowStatus, steps, unused);
      await Promise.all([this.#whyWaits(steps), this.#asksWithin(steps)]);
      if (this.#closed) return;
      if (!job.root_job || job.root_job === job.id) this.root = job;
      else this.root ??= await this.#get(job.root_job, false).catch(() => undefined);
      [this.job, this.steps, this.unused] = [job, steps, unused];
    } catch {
      // What is shown stays; the next change asks again.
    }
  }

  async #spread(of: string, status: FlowStatus, steps: Record<string, StepRun>, unused: Set<string>): Promise<void> {
    const all = [...status.modules];
    if (status.preprocessor_module) all.push(status.preprocessor_module as FlowModule);
    if (status.failure_module && status.failure_module.type !== 'WaitingForPriorSteps') all.push(status.failure_module);
    for (const m of all) {
      const s = stepOf(m);
      if (s.approvals) s.approvals.job ||= of;
      steps[m.id] = s;
      if (s.job) this.#tree.add(s.job);
      const module = this.value && find(this.value, m.id)?.module;
      if (!module || !isContainer(module)) continue;
      if (module.value.type === 'branchone' && m.branch_chosen) {
        const chosen = m.branch_chosen.type === 'default' ? 'default' : String(m.branch_chosen.branch);
        for (const name of ['default', ...(module.value.branches ?? []).keys()]) if (String(name) !== chosen) unused.add(`${m.id}/${name}`);
      }
      const inside = isLoop(module) ? this.#chosen(m.id, s) : module.value.type === 'branchall' ? (s.children ?? []).slice(0, MOST).map((c) => c.job) : s.job ? [s.job] : [];
      for (const id of inside) await this.#inside(m.id, id, steps, unused);
    }
  }

  /** chosen is the iteration that is shown: the one that was picked, else the first that has not ended, else the last. */
  #chosen(id: string, s: StepRun): string[] {
    const list = s.children ?? [];
    if (list.length === 0) return [];
    const open = list.findIndex((c) => c.success === null);
    s.chosen = Math.min(this.#picked.get(id) ?? (open < 0 ? list.length - 1 : open), list.length - 1);
    return [list[s.chosen]!.job];
  }

  /** inside adds what happens in an iteration or branch: a run of its own, or the one step that it is. */
  async #inside(of: string, id: string, steps: Record<string, StepRun>, unused: Set<string>): Promise<void> {
    this.#tree.add(id);
    let job = this.#children.get(id);
    if (!job) {
      try {
        job = await this.#get(id, false);
      } catch {
        return; // it may have been deleted
      }
      if (ended(job)) this.#children.set(id, job);
    }
    if (job.flow_step_id === of && isFlow(job)) {
      if (job.flow_status) await this.#spread(id, job.flow_status as FlowStatus, steps, unused);
    } else if (job.flow_step_id) {
      const wait = job.wait ?? undefined;
      const state = stateOf(job, clock.now);
      steps[job.flow_step_id] = { state, note: '', job: id, failedRetries: [], ...(wait && (state === 'waiting' || state === 'scheduled') ? { wait } : {}) };
    }
  }

  /** asksWithin looks into the flows that are steps: one that waits for an approval does not just run. */
  async #asksWithin(steps: Record<string, StepRun>): Promise<void> {
    const flows = Object.entries(steps).filter(([id, s]) => s.state === 'running' && s.job && this.value && find(this.value, id)?.module.value.type === 'flow');
    await Promise.all(
      flows.slice(0, MOST).map(async ([, s]) => {
        const job = await this.#get(s.job, false).catch(() => undefined);
        const modules = (job?.flow_status as FlowStatus | undefined)?.modules ?? [];
        if (modules.some((m) => m.type === 'WaitingForEvents')) [s.state, s.note, s.within] = ['waiting', text.flow.asksWithin, true];
      }),
    );
  }

  async #whyWaits(steps: Record<string, StepRun>): Promise<void> {
    const waiting = Object.values(steps).filter((s) => s.state === 'waiting' && s.job && !s.approvals && !s.within);
    await Promise.all(
      waiting.slice(0, MOST).map(async (s) => {
        try {
          s.wait ??= ((await ok(api.GET('/api/w/{workspace}/jobs_u/wait/{id}', { params: { path: { workspace: this.#workspace, id: s.job } } }))) as Wait | null) ?? undefined;
        } catch {
          return;
        }
        if (s.wait) s.note = waitNote(s.wait);
      }),
    );
  }
}

/** waitNote says in a few words why something waits. */
function waitNote(w: Wait): string {
  if (w.limit && (w.reason === 'limit' || w.reason === 'behind')) return text.flow.waitsLimit(limitShort(w.limit), w.key ?? '');
  return text.wait.reasons[w.reason] ?? '';
}

const states: Record<string, State> = {
  WaitingForPriorSteps: 'scheduled',
  WaitingForExecutor: 'waiting',
  WaitingForEvents: 'waiting',
  InProgress: 'running',
  Success: 'success',
  Failure: 'failure',
};

function stepOf(m: FlowModule): StepRun {
  const s: StepRun = {
    state: m.skipped ? 'skipped' : (states[m.type] ?? 'scheduled'),
    note: m.type === 'WaitingForPriorSteps' ? text.run.modules.WaitingForPriorSteps! : '',
    job: m.job && m.job !== NONE ? m.job : '',
    failedRetries: m.failed_retries ?? [],
  };
  if (m.iterations) {
    const failed = m.iterations.failed ?? 0;
    s.note = text.run.iterations(count(m.iterations.done ?? 0), m.iterations.total == null ? '?' : count(m.iterations.total)) + (failed > 0 ? `, ${text.run.failedSome(count(failed))}` : '');
    s.children = (m.flow_jobs ?? []).map((job, i) => ({ job, success: m.flow_jobs_success?.[i] ?? null }));
  }
  if (m.type === 'WaitingForEvents') {
    const given = (m.approvers ?? []).map((a) => a.approver ?? '');
    s.approvals = { needed: m.count ?? 1, given, until: m.until ?? '', job: s.job };
    s.note = text.flow.approvals(count(given.length), count(m.count ?? 1));
  } else if (s.failedRetries.length > 0) s.note = text.flow.attempts(count(s.failedRetries.length));
  return s;
}
