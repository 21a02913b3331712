// How long to wait before a thread that died is started again: not long the first time, longer each time that it dies
// soon, so that a policy which cannot live does not load itself over and over.

const MIN_DELAY_MS = 100;
const MAX_DELAY_MS = 10_000;
/** Milliseconds after which a death has nothing to do with the one before. */
const RESET_AFTER_MS = 60_000;

export class Backoff {
  private crashes = 0;
  private startedAtMs = 0;

  recordStart(): void {
    this.startedAtMs = performance.now();
  }

  recordCrash(): void {
    if (performance.now() - this.startedAtMs > RESET_AFTER_MS) this.crashes = 0;
    this.crashes++;
  }

  /** Milliseconds. */
  get delayMs(): number {
    return this.crashes === 0 ? 0 : Math.min(MAX_DELAY_MS, MIN_DELAY_MS * 2 ** (this.crashes - 1));
  }
}
