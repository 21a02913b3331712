// Tells any number of readers what the loop is doing: once, and whenever it has changed, at most once a second. One poll for
// all of them, and one text for the readers of one tenant.

import { type PollReader, SharedPoll } from '../shared-poll.ts';
import type { LoopReader, LoopSnapshot } from './read-loop.ts';

type Follower = Pick<PollReader, 'findRefusal'> & {
  /** the tenant whose raters and keys it may see, which decides what it is told; null: those of all */
  readable: string | null;
  /** what it is told, without the time */
  render(snapshot: LoopSnapshot, readable: string | null): object;
  signal: AbortSignal;
};

type Reader = Omit<Follower, 'signal'> &
  PollReader & {
    /** what it was told last */
    text: string;
    onState(state: object): void;
  };

const INTERVAL_MS = 1000;

export class LoopEvents {
  private readonly reader: Pick<LoopReader, 'read'>;
  private readonly shared: SharedPoll<Reader>;
  private last: { snapshot: LoopSnapshot; readMs: number } | null = null;

  constructor(reader: Pick<LoopReader, 'read'>, retryMs?: number) {
    this.reader = reader;
    this.shared = new SharedPoll<Reader>({
      poll: (readers) => this.poll(readers),
      wait: () => new Promise((resolve) => setTimeout(resolve, INTERVAL_MS)),
      retryMs,
    });
  }

  /** For a request that asks once. */
  read(): Promise<LoopSnapshot> {
    return this.reader.read();
  }

  /** Resolves when the signal is aborted. */
  follow({ signal, ...told }: Follower, onState: (state: object) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return resolve();
      const fail = (error: unknown) => {
        this.shared.leave(reader);
        reject(error);
      };
      const reader: Reader = { ...told, text: '', onState, fail };
      const leave = () => {
        this.shared.leave(reader);
        resolve();
      };
      signal.addEventListener('abort', leave, { once: true });
      this.shared.join(reader);
    });
  }

  /** Ends the streams of all readers. */
  close(): void {
    this.shared.close();
  }

  private async poll(readers: Reader[]): Promise<boolean> {
    const now = performance.now();
    // One that has just joined gets what the others got, so that a crowd of them asks Postgres no more often.
    if (!this.last || now - this.last.readMs >= INTERVAL_MS)
      this.last = { snapshot: await this.reader.read(), readMs: now };
    const rendered = new Map<string | null, { state: object; text: string }>();
    for (const reader of readers) {
      let told = rendered.get(reader.readable);
      if (!told) {
        const state = reader.render(this.last.snapshot, reader.readable);
        told = { state, text: JSON.stringify(state) };
        rendered.set(reader.readable, told);
      }
      if (told.text === reader.text || !this.shared.has(reader)) continue;
      reader.text = told.text;
      reader.onState(told.state);
    }
    return false;
  }
}
