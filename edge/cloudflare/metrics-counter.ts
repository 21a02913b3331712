// HTTP metrics of the Workers, for GET /metrics. An isolate cannot be scraped: it accumulates counts for a second and sends
// them to the queue, whose consumer adds them up in Postgres. A lost message loses its counts and nothing else.

import type { Queue } from '@cloudflare/workers-types';
import type { Database } from '../../shared/database/connect.ts';
import { log } from '../../shared/log.ts';
import { HTTP_DURATION } from '../metrics/definitions.ts';
import type { Metrics } from '../ports.ts';
import type { BackgroundMessage } from './background.ts';
import { FlushTurn } from './flush-turn.ts';
import { type RequestCount, renderMetrics } from './metrics-store.ts';

const FLUSH_INTERVAL_MS = 1000;
/** A client may send any method, and each would add a permanent time series. */
const KNOWN_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** Counts that an isolate has not sent yet. Its requests share them, and one request flushes for all. */
export class MetricsAccumulator {
  private readonly counts = new Map<string, RequestCount>();
  private readonly turn = new FlushTurn();

  add(response: { method: string; route: string; status: number; seconds: number }): void {
    const { route, status, seconds } = response;
    const method = KNOWN_METHODS.has(response.method) ? response.method : 'OTHER';
    const index = HTTP_DURATION.buckets.findIndex((bound) => seconds <= bound);
    const bucket = index === -1 ? HTTP_DURATION.buckets.length : index;
    const key = [method, route, status, bucket].join(' ');
    const sum = this.counts.get(key) ?? { method, route, status, bucket, count: 0, seconds: 0 };
    this.counts.set(key, { ...sum, count: sum.count + 1, seconds: sum.seconds + seconds });
  }

  /** Whether the caller has to flush: true for one request at a time. */
  claimFlush(nowMs = Date.now()): boolean {
    return this.turn.take(nowMs);
  }

  /** Returns all counts and resets them. */
  drain(): RequestCount[] {
    const drained = [...this.counts.values()];
    this.counts.clear();
    this.turn.end();
    return drained;
  }
}

const isolateAccumulator = new MetricsAccumulator();

type WorkerMetricsOptions = {
  db: Database;
  queue: Pick<Queue<BackgroundMessage>, 'send'>;
  waitUntil(promise: Promise<unknown>): void;
  accumulator?: MetricsAccumulator;
};

export function openWorkerMetrics(options: WorkerMetricsOptions): Metrics {
  const { db, queue, waitUntil, accumulator = isolateAccumulator } = options;
  const flush = async () => {
    await new Promise((resolve) => setTimeout(resolve, FLUSH_INTERVAL_MS));
    const counts = accumulator.drain();
    if (counts.length === 0) return;
    await queue.send({ kind: 'metrics', id: crypto.randomUUID(), counts });
  };
  return {
    observeResponse(response) {
      accumulator.add(response);
      if (!accumulator.claimFlush()) return;
      waitUntil(flush().catch((error: unknown) => log.error('metrics', 'sending to the queue failed', error)));
    },
    render: () => renderMetrics(db),
  };
}
