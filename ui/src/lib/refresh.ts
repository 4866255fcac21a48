/** A call that is made soon after it is asked for, and at most so often. */
export class Refresh {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last = 0;
  #every: number;
  #run: () => Promise<void>;
  #busy = false;
  #again = false;

  constructor(every: number, run: () => Promise<void>) {
    this.#every = every;
    this.#run = run;
  }

  ask(): void {
    if (this.#busy) this.#again = true;
    else this.#timer ??= setTimeout(() => void this.#go(), Math.max(this.#last + this.#every - Date.now(), 100));
  }

  async #go(): Promise<void> {
    this.#timer = undefined;
    this.#busy = true;
    try {
      await this.#run();
    } finally {
      this.#busy = false;
      this.#last = Date.now();
      if (this.#again) {
        this.#again = false;
        this.ask();
      }
    }
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#every = Infinity;
    this.#run = () => Promise.resolve();
  }
}
