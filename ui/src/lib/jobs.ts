import type { Job } from '../api/types';
import { text } from '../text';
import { ms } from './format';

/** What a run is doing, as people see it. */
export type State = 'scheduled' | 'waiting' | 'running' | 'success' | 'failure' | 'canceled' | 'skipped';

export const states: State[] = ['running', 'waiting', 'scheduled', 'success', 'failure', 'canceled'];

export function stateOf(j: Job, now: number): State {
  if (j.type === 'QueuedJob') {
    if (j.running) return 'running';
    return ms(j.scheduled_for) > now ? 'scheduled' : 'waiting';
  }
  if (j.is_skipped) return 'skipped';
  if (j.canceled) return 'canceled';
  return j.success ? 'success' : 'failure';
}

export function ended(j: Job): boolean {
  return j.type === 'CompletedJob';
}

/** durationOf is how long a run lasted, or lasts by now; NaN if it has not begun. */
export function durationOf(j: Job, now: number): number {
  if (ended(j)) return j.started_at ? (j.duration_ms ?? NaN) : NaN;
  return j.running && j.started_at ? Math.max(now - ms(j.started_at), 0) : NaN;
}

export function isFlow(j: Job): boolean {
  return j.job_kind === 'flow' || j.job_kind === 'flowpreview';
}

/** nameOf is what to call a run: its path, or what it is. */
export function nameOf(j: Job): string {
  return j.script_path ?? (j.job_kind === 'dependencies' ? text.runs.dependencies : text.runs.preview);
}

/** whenOf is the instant that a list shows: of its start, else of when it is due. */
export function whenOf(j: Job): number {
  return j.started_at ? ms(j.started_at) : ms(j.scheduled_for ?? j.created_at);
}
