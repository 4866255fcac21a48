// The server's time, and what follows from it as it passes.
import { api, ok } from './api';

class Clock {
  /** Milliseconds since 1970 by the server's clock; moves on while the page is seen. */
  now = $state(Date.now());
  #ahead = 0;

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.tick();
    }, 250);
    document.addEventListener('visibilitychange', () => this.tick());
  }

  tick(): void {
    this.now = Date.now() + this.#ahead;
  }

  /** sync asks the server for its time. What it says is late by half the way at most. */
  async sync(): Promise<void> {
    try {
      const sent = Date.now();
      const theirs = await ok(api.GET('/api/jobs/db_clock'));
      const received = Date.now();
      this.#ahead = theirs - (sent + received) / 2;
      this.tick();
    } catch {
      // The browser's clock will do.
    }
  }
}

export const clock = new Clock();
