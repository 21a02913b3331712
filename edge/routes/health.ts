// Liveness (/status), readiness (/health) and metrics (/metrics) for load balancers and Prometheus, without an API key; metrics
// need one if PUBLIC_ENDPOINTS leaves them out.
// None of them reveals prompts, generations or callers.

import { z } from '@hono/zod-openapi';
import { sql } from 'drizzle-orm';
import { defineOperation } from '../http/operation.ts';
import type { Ports } from '../ports.ts';
import { withinTimeout } from '../within-timeout.ts';

/** A load balancer that waits no longer for /health still learns that Postgres is stalled. */
const HEALTH_TIMEOUT_MS = 3000;

const health = z.object({
  status: z.enum(['ok', 'unavailable']),
  postgres: z.enum(['ok', 'unreachable', 'read_only', 'disk_full']),
  policy: z.string().nullable(),
  candidate: z.string().nullable().openapi({ description: 'of a canary, if it is served here beside the policy' }),
  compute: z.object({ place: z.enum(['node', 'worker', 'container', 'url', 'none']), reason: z.string() }).nullable(),
});

export const getStatus = defineOperation({
  scopes: null,
  summary: 'Whether the process is alive',
  response: z.object({ status: z.literal('ok') }),
  handler: async () => ({ status: 'ok' }),
});

export const getHealth = defineOperation({
  scopes: null,
  summary: 'Whether requests can be served; 503 if not',
  response: health,
  async handler({ ports, context }) {
    const [postgres, { policy, candidate, compute }] = await Promise.all([
      withinTimeout(checkPostgres(ports), HEALTH_TIMEOUT_MS, 'unreachable' as const),
      withinTimeout(ports.getServingStatus(), HEALTH_TIMEOUT_MS, { policy: null, candidate: null, compute: null }),
    ]);
    const isReady = postgres === 'ok' && policy !== null && compute?.place !== 'none';
    const status = isReady ? 'ok' : 'unavailable';
    return context.json({ status, postgres, policy, candidate, compute }, isReady ? 200 : 503);
  },
});

/** Whether a write would succeed, without writing. */
async function checkPostgres({ db, isDiskFull }: Ports): Promise<z.output<typeof health>['postgres']> {
  const [row] = await db.execute<{ value: string }>(sql`select current_setting('transaction_read_only') as value`);
  if (row?.value === 'on') return 'read_only';
  return isDiskFull?.() ? 'disk_full' : 'ok';
}

export const getMetrics = defineOperation({
  scopes: ['read'],
  publicAs: 'metrics',
  summary: 'Metrics for Prometheus',
  response: z.string(),
  responseType: 'text/plain',
  async handler({ ports, context }) {
    const { body, type } = await ports.metrics.render();
    return context.body(body, 200, { 'content-type': type });
  },
});
