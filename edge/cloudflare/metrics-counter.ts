// What the Workers have answered, for GET /metrics. An isolate cannot be scraped: it counts for a second and sends the
// counts to the queue, whose consumer adds them up in Postgres. Losing a message loses its counts and nothing else.

import type { Queue } from '@cloudflare/workers-types';
import type { Database } from '../../shared/database/connect.ts';
import { HTTP_DURATION } from '../metrics/definitions.ts';
import type { Metrics } from '../ports.ts';
import type { BackgroundMessage } from './background.ts';
import { tellAnswers } from './metrics-store.ts';

/** Answers of one kind that fell into one bucket, as the table answer_counts has them. */
export type AnswerCount = {
  method: string;
  route: string;
  status: number;
  bucket: number;
  count: number;
  seconds: number;
};

/** Milliseconds that an isolate counts before it tells. */
const WINDOW = 1000;
/** After which a window's request is taken for dead, and the next one tells in its place. */
const PATIENCE = 5000;
/** Clients may send any word; each would be a line of its own for ever. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** What an isolate has answered and not told yet. Shared by its requests, of which one tells for all. */
export class Tally {
  private readonly counts = new Map<string, AnswerCount>();
  private teller = 0;

  add(answer: { method: string; route: string; status: number; seconds: number }): void {
    const { route, status, seconds } = answer;
    const method = METHODS.has(answer.method) ? answer.method : 'OTHER';
    const found = HTTP_DURATION.buckets.findIndex((bound) => seconds <= bound);
    const bucket = found === -1 ? HTTP_DURATION.buckets.length : found;
    const key = [method, route, status, bucket].join(' ');
    const sum = this.counts.get(key) ?? { method, route, status, bucket, count: 0, seconds: 0 };
    this.counts.set(key, { ...sum, count: sum.count + 1, seconds: sum.seconds + seconds });
  }

  /** Whether the caller is the one that has to tell. */
  claim(now = Date.now()): boolean {
    if (now - this.teller < PATIENCE) return false;
    this.teller = now;
    return true;
  }

  take(): AnswerCount[] {
    const taken = [...this.counts.values()];
    this.counts.clear();
    this.teller = 0;
    return taken;
  }
}

const isolate = new Tally();

export type StatisticsOptions = {
  db: Database;
  queue: Pick<Queue<BackgroundMessage>, 'send'>;
  waitUntil(promise: Promise<unknown>): void;
  tally?: Tally;
};

export function openStatistics({ db, queue, waitUntil, tally = isolate }: StatisticsOptions): Metrics {
  const tell = async () => {
    await new Promise((resolve) => setTimeout(resolve, WINDOW));
    const answers = tally.take();
    if (answers.length === 0) return;
    await queue.send({ kind: 'answers', id: crypto.randomUUID(), answers });
  };
  return {
    observeResponse(answer) {
      tally.add(answer);
      if (!tally.claim()) return;
      waitUntil(tell().catch((error: Error) => console.error('statistics: the queue took none:', error.message)));
    },
    render: () => tellAnswers(db),
  };
}
