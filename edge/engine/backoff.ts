// How long to wait before a thread that died is started again: not long the first time, longer each time that it dies
// soon, so that a policy which cannot live does not load itself over and over.

const FIRST = 100;
const LONGEST = 10_000;
/** Milliseconds after which a death has nothing to do with the one before. */
const SOON = 60_000;

export class Backoff {
  private deaths = 0;
  private born = 0;

  begin(): void {
    this.born = performance.now();
  }

  end(): void {
    if (performance.now() - this.born > SOON) this.deaths = 0;
    this.deaths++;
  }

  /** Milliseconds. */
  get delay(): number {
    return this.deaths === 0 ? 0 : Math.min(LONGEST, FIRST * 2 ** (this.deaths - 1));
  }
}
