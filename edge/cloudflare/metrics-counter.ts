// What the Workers have answered, for GET /metrics. An isolate cannot be scraped: it counts for a second and sends the
// counts to the queue, whose consumer adds them up in Postgres. Losing a message loses its counts and nothing else.

import type { Queue } from '@cloudflare/workers-types';
import type { Database } from '../../shared/database/connect.ts';
import { HTTP_DURATION } from '../metrics/definitions.ts';
import type { Metrics } from '../ports.ts';
import type { BackgroundMessage } from './background.ts';
import { formatMetrics, type RequestCount } from './metrics-store.ts';

/** Milliseconds that an isolate counts before it tells. */
const FLUSH_INTERVAL_MS = 1000;
/** After which a window's request is taken for dead, and the next one tells in its place. */
const FLUSH_TIMEOUT_MS = 5000;
/** Clients may send any word; each would be a line of its own for ever. */
const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** What an isolate has answered and not told yet. Shared by its requests, of which one tells for all. */
export class MetricsAccumulator {
  private readonly counts = new Map<string, RequestCount>();
  private flushStartedMs = 0;

  add(answer: { method: string; route: string; status: number; seconds: number }): void {
    const { route, status, seconds } = answer;
    const method = KNOWN_METHODS.has(answer.method) ? answer.method : 'OTHER';
    const found = HTTP_DURATION.buckets.findIndex((bound) => seconds <= bound);
    const bucket = found === -1 ? HTTP_DURATION.buckets.length : found;
    const key = [method, route, status, bucket].join(' ');
    const sum = this.counts.get(key) ?? { method, route, status, bucket, count: 0, seconds: 0 };
    this.counts.set(key, { ...sum, count: sum.count + 1, seconds: sum.seconds + seconds });
  }

  /** Whether the caller is the one that has to tell. */
  claimFlush(now = Date.now()): boolean {
    if (now - this.flushStartedMs < FLUSH_TIMEOUT_MS) return false;
    this.flushStartedMs = now;
    return true;
  }

  take(): RequestCount[] {
    const taken = [...this.counts.values()];
    this.counts.clear();
    this.flushStartedMs = 0;
    return taken;
  }
}

const isolateAccumulator = new MetricsAccumulator();

export type WorkerMetricsOptions = {
  db: Database;
  queue: Pick<Queue<BackgroundMessage>, 'send'>;
  waitUntil(promise: Promise<unknown>): void;
  accumulator?: MetricsAccumulator;
};

export function openWorkerMetrics({
  db,
  queue,
  waitUntil,
  accumulator: tally = isolateAccumulator,
}: WorkerMetricsOptions): Metrics {
  const tell = async () => {
    await new Promise((resolve) => setTimeout(resolve, FLUSH_INTERVAL_MS));
    const answers = tally.take();
    if (answers.length === 0) return;
    await queue.send({ kind: 'answers', id: crypto.randomUUID(), answers });
  };
  return {
    observeResponse(answer) {
      tally.add(answer);
      if (!tally.claimFlush()) return;
      waitUntil(tell().catch((error: Error) => console.error('statistics: the queue took none:', error.message)));
    },
    render: () => formatMetrics(db),
  };
}
