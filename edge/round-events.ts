// Follows the events of rounds for any number of readers, with one poll for all of them.

import { and, asc, eq, gt, inArray, or } from 'drizzle-orm';
import type { Database } from '../shared/database/connect.ts';
import { hasEnded } from '../shared/database/round-types.ts';
import { round_events, rounds } from '../shared/database/schema.ts';
import { type PollReader, SharedPoll } from './shared-poll.ts';

type RoundRow = typeof rounds.$inferSelect;
export type RoundEvent = typeof round_events.$inferSelect;

type Reader = PollReader & {
  roundId: string;
  /** id of the last event that it got */
  after: number;
  onEvent(event: RoundEvent): void;
  /** The round after its end; null if the reader left before. */
  end(round: RoundRow | null): void;
};

type Follower = Pick<Reader, 'roundId' | 'after' | 'findRefusal'> & { signal: AbortSignal };

/** How often the events are polled, in case a change notification is lost. */
const POLL_INTERVAL_MS = 1000;
/** Events of one poll: a long history is read in several. */
const PAGE_SIZE = 1000;

export class RoundEvents {
  private readonly db: Database;
  private readonly shared: SharedPoll<Reader>;

  /** `waitForChange` resolves when rows of rounds may have changed, or after the timeout. */
  constructor(db: Database, waitForChange: (timeoutMs: number) => Promise<void>, retryMs?: number) {
    this.db = db;
    this.shared = new SharedPoll<Reader>({
      poll: (readers) => this.poll(readers),
      wait: () => waitForChange(POLL_INTERVAL_MS),
      retryMs,
    });
  }

  /** Passes on the round's events after the given id, in order. Resolves with the round when it has ended, or with null on abort. */
  follow({ signal, ...read }: Follower, onEvent: (event: RoundEvent) => void): Promise<RoundRow | null> {
    return new Promise((resolve, reject) => {
      const leave = () => this.shared.leave(reader);
      const end = (round: RoundRow | null) => {
        leave();
        resolve(round);
      };
      const fail = (error: unknown) => {
        leave();
        reject(error);
      };
      const reader: Reader = { ...read, onEvent, end, fail };
      if (signal.aborted) return end(null);
      signal.addEventListener('abort', () => end(null), { once: true });
      this.shared.join(reader);
    });
  }

  /** Ends the streams of all readers. */
  close(): void {
    this.shared.close();
  }

  /** Returns whether there are more events than one poll reads. */
  private async poll(readers: Reader[]): Promise<boolean> {
    const byRound = Map.groupBy(readers, ({ roundId }) => roundId);
    // The status is read before the events, so that events written in between are still passed on.
    const rows = await this.db
      .select()
      .from(rounds)
      .where(inArray(rounds.id, [...byRound.keys()]));
    const isNew = [...byRound].map(([id, followers]) =>
      and(eq(round_events.round_id, id), gt(round_events.id, Math.min(...followers.map(({ after }) => after)))),
    );
    const events = await this.db
      .select()
      .from(round_events)
      .where(or(...isNew))
      .orderBy(asc(round_events.id))
      .limit(PAGE_SIZE);
    for (const event of events)
      for (const reader of byRound.get(event.round_id)!) {
        if (event.id <= reader.after || !this.shared.has(reader)) continue;
        reader.after = event.id;
        reader.onEvent(event);
      }
    const hasMore = events.length === PAGE_SIZE;
    if (!hasMore)
      for (const row of rows) if (hasEnded(row.status)) for (const reader of byRound.get(row.id)!) reader.end(row);
    return hasMore;
  }
}
