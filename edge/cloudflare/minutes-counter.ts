// What the policies served in this isolate, and the votes that may decide about a canary: both go to the queue, whose consumer has
// the time to write to Postgres. Without a message of a vote, its decision waits for the next one or the cron.

import type { Queue } from '@cloudflare/workers-types';
import { log } from '../../shared/log.ts';
import type { PolicyMinutes } from '../canary/policy-minutes.ts';
import type { RequestRecord } from '../http/request-record.ts';
import type { BackgroundMessage } from './background.ts';
import type { FlushTurn } from './flush-turn.ts';

const FLUSH_INTERVAL_MS = 1000;
/** After an outage there are many; a message has 128 kB at most. */
const MAX_MESSAGE_ROWS = 100;

/** Of an isolate. */
export type CountedMinutes = { minutes: PolicyMinutes; turn: FlushTurn };

type WorkerMinutesOptions = CountedMinutes & {
  queue: Pick<Queue<BackgroundMessage>, 'send'>;
  waitUntil(promise: Promise<unknown>): void;
};

export type WorkerMinutes = { observe(record: RequestRecord): void; countLoadFailure(policyId: string): void };

export function openWorkerMinutes({ minutes, turn, queue, waitUntil }: WorkerMinutesOptions): WorkerMinutes {
  const send = (work: () => Promise<unknown>) =>
    waitUntil(work().catch((error: unknown) => log.error('canary', 'sending to the queue failed', error)));
  const flush = () => {
    if (minutes.isEmpty || !turn.take()) return;
    send(async () => {
      await new Promise((resolve) => setTimeout(resolve, FLUSH_INTERVAL_MS));
      const rows = minutes.drain();
      turn.end();
      try {
        while (rows.length > 0) {
          const sent = rows.slice(0, MAX_MESSAGE_ROWS);
          await queue.send({ kind: 'policy_minutes', id: crypto.randomUUID(), rows: sent });
          rows.splice(0, sent.length);
        }
      } catch (error) {
        minutes.restore(rows);
        throw error;
      }
    });
  };
  return {
    observe(record) {
      minutes.observe(record);
      flush();
      if (record.vote) send(() => queue.send({ kind: 'vote' }));
    },
    countLoadFailure(policyId) {
      minutes.add(policyId, { load_failures: 1 });
      flush();
    },
  };
}
