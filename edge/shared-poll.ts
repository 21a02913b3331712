// One poll for any number of readers: it runs while there are any, and at once for one that joins. A Node process has one
// instance of each kind; in a Worker each request has its own, because no request can wait for another one's promises.

import { AttuneError } from '../shared/error.ts';

/** How long failed polls are repeated before the readers get the error. */
const RETRY_MS = 30_000;

export type PollReader = {
  /** Why it may read no longer; asked before each poll. */
  findRefusal(): Promise<Error | null>;
  fail(error: unknown): void;
};

type Options<Reader> = {
  /** Passes on to the readers what is new. Returns whether there is more: then it runs again at once. */
  poll(readers: Reader[]): Promise<boolean>;
  /** Until the next poll. */
  wait(): Promise<unknown>;
  retryMs?: number | undefined;
};

export class SharedPoll<Reader extends PollReader> {
  private readonly options: Options<Reader>;
  private readonly readers = new Set<Reader>();
  private isPolling = false;
  private closed: Error | null = null;
  private wake = () => {};

  constructor(options: Options<Reader>) {
    this.options = options;
  }

  join(reader: Reader): void {
    if (this.closed) {
      reader.fail(this.closed);
      return;
    }
    this.readers.add(reader);
    this.wake();
    if (!this.isPolling) void this.pollUntilEmpty();
  }

  leave(reader: Reader): void {
    this.readers.delete(reader);
  }

  /** Whether the reader has not left: a poll goes on with those that were there when it began. */
  has(reader: Reader): boolean {
    return this.readers.has(reader);
  }

  /** Ends every reader, also those to come: a process that stops waits for its responses. */
  close(): void {
    const error = new AttuneError('stream: the server is shutting down; connect again', {
      status: 503,
      code: 'closing',
    });
    this.closed = error;
    for (const reader of [...this.readers]) reader.fail(error);
  }

  private async pollUntilEmpty(): Promise<void> {
    const { poll, wait, retryMs = RETRY_MS } = this.options;
    this.isPolling = true;
    let succeededAt = performance.now();
    while (this.readers.size > 0) {
      const joined = new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      const readers = [...this.readers];
      let hasMore = false;
      try {
        // One after the other, so that those of one key are one query.
        for (const reader of readers) {
          const refusal = await reader.findRefusal();
          if (refusal) reader.fail(refusal);
        }
        const admitted = readers.filter((reader) => this.has(reader));
        if (admitted.length > 0) hasMore = await poll(admitted);
        succeededAt = performance.now();
      } catch (error) {
        if (performance.now() - succeededAt > retryMs) for (const reader of readers) reader.fail(error);
      }
      if (!hasMore) await Promise.race([wait(), joined]);
    }
    this.isPolling = false;
  }
}
