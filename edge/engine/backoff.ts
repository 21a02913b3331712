// Exponential backoff between restarts of a crashed worker, so that a policy that cannot run does not reload in a loop.

const MIN_DELAY_MS = 100;
const MAX_DELAY_MS = 10_000;
/** A worker that has run for this long has recovered: its next crash counts as the first. */
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

  /** The delay before the next start; 0 before the first crash. */
  get delayMs(): number {
    return this.crashes === 0 ? 0 : Math.min(MAX_DELAY_MS, MIN_DELAY_MS * 2 ** (this.crashes - 1));
  }
}
