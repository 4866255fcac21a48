// The event stream of a workspace: every change of its jobs, from a change on.
// A stream that breaks off is opened again where it ended, so nothing is missed;
// while it is away the page says so.
import type { Job } from '../api/types';
import { base } from './base';
import { session } from './session.svelte';

export type Connection = 'connecting' | 'live' | 'lost';

const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
/** Events are handed over together, so that hundreds a second are a few changes of the page. */
const GATHER = 200;

export class Live {
  connection = $state<Connection>('connecting');

  #url: string;
  #take: (jobs: Job[]) => void;
  #source: EventSource | undefined;
  #rev = '';
  #wait = FIRST_WAIT;
  #again: ReturnType<typeof setTimeout> | undefined;
  #flush: ReturnType<typeof setTimeout> | undefined;
  #held = new Map<string, Job>();
  #closed = false;
  #missed: () => void;

  /** missed is called when the stream is back after it was away. */
  constructor(workspace: string, take: (jobs: Job[]) => void, missed: () => void = () => undefined) {
    this.#url = `${base}api/w/${encodeURIComponent(workspace)}/events`;
    this.#take = take;
    this.#missed = missed;
    this.#open();
  }

  #open(): void {
    const source = new EventSource(this.#rev === '' ? this.#url : `${this.#url}?rev=${this.#rev}`);
    this.#source = source;
    source.onopen = () => {
      const back = this.connection === 'lost';
      this.connection = 'live';
      this.#wait = FIRST_WAIT;
      if (back) this.#missed();
    };
    source.onmessage = (e) => (this.#rev = e.lastEventId);
    source.addEventListener('job', (e) => {
      this.#rev = e.lastEventId;
      const job = JSON.parse(e.data as string) as Job;
      this.#held.set(job.id, job);
      this.#flush ??= setTimeout(() => this.#hand(), GATHER);
    });
    source.onerror = () => {
      if (this.#closed) return;
      // The browser's own attempts end at the first answer that is no stream.
      source.close();
      this.connection = 'lost';
      this.#again = setTimeout(() => void this.#retry(), this.#wait);
      this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    };
  }

  async #retry(): Promise<void> {
    const answer = await fetch(base + 'api/users/whoami').catch(() => undefined);
    if (answer?.status === 401) await session.renewed();
    if (!this.#closed) this.#open();
  }

  #hand(): void {
    this.#flush = undefined;
    const jobs = [...this.#held.values()];
    this.#held.clear();
    if (!this.#closed) this.#take(jobs);
  }

  close(): void {
    this.#closed = true;
    this.#source?.close();
    clearTimeout(this.#again);
    clearTimeout(this.#flush);
  }
}
