// Writes into a round where it is, for those who watch it: the newest report, about once a second. Nothing waits for it, and
// a report that cannot be written is left out.

import type { RoundProgress } from '../../shared/database/round-types.ts';

const INTERVAL_MS = 1000;

export class ProgressWriter {
  private readonly store: (progress: RoundProgress) => Promise<unknown>;
  private newest: RoundProgress | null = null;
  private isWriting = false;

  constructor(store: (progress: RoundProgress) => Promise<unknown>) {
    this.store = store;
  }

  write(progress: RoundProgress): void {
    this.newest = progress;
    if (!this.isWriting) void this.writeNewest();
  }

  private async writeNewest(): Promise<void> {
    this.isWriting = true;
    while (this.newest) {
      const progress = this.newest;
      this.newest = null;
      // The round has ended, or Postgres cannot be reached: then the round notices by itself.
      await this.store(progress).catch(() => {});
      // Does not keep a process that has ended its round.
      await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS).unref());
    }
    this.isWriting = false;
  }
}
