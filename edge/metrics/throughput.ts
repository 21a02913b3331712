// Events per second over the last ten seconds, the current one included, counted by the second.

const WINDOW_SECONDS = 10;

export class Throughput {
  private readonly counts = new Map<number, number>();

  /** `now`: in seconds */
  add(now: number, count: number): void {
    const second = Math.floor(now);
    this.counts.set(second, (this.counts.get(second) ?? 0) + count);
    for (const old of this.counts.keys()) {
      if (old > second - WINDOW_SECONDS) return;
      this.counts.delete(old);
    }
  }

  perSecond(now: number): number {
    const oldest = Math.floor(now) - WINDOW_SECONDS + 1;
    let sum = 0;
    for (const [second, count] of this.counts) if (second >= oldest) sum += count;
    return sum / (now - oldest);
  }
}
