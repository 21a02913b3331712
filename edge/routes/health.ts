// Liveness (/status), readiness (/health) and metrics (/metrics), without an API key, for load balancers and Prometheus.
// None of them reveals prompts, generations or callers.

import { z } from '@hono/zod-openapi';
import { sql } from 'drizzle-orm';
import { defineOperation } from '../http/operation.ts';

const health = z.object({
  status: z.enum(['ok', 'unavailable']),
  postgres: z.enum(['ok', 'unreachable']),
  policy: z.string().nullable(),
  compute: z.object({ place: z.enum(['node', 'worker', 'container', 'url', 'none']), reason: z.string() }).nullable(),
});

export const getStatus = defineOperation({
  summary: 'Whether the process is alive',
  response: z.object({ status: z.literal('ok') }),
  handler: async () => ({ status: 'ok' }),
});

export const getHealth = defineOperation({
  summary: 'Whether requests can be served; 503 if not',
  response: health,
  async handler({ ports, context }) {
    const [postgres, { policy, compute }] = await Promise.all([
      ports.db.execute(sql`select 1`).then(
        () => 'ok' as const,
        () => 'unreachable' as const,
      ),
      ports.getServingStatus().catch(() => ({ policy: null, compute: null })),
    ]);
    const isReady = postgres === 'ok' && policy !== null && compute?.place !== 'none';
    const status = isReady ? 'ok' : 'unavailable';
    return context.json({ status, postgres, policy, compute }, isReady ? 200 : 503);
  },
});

export const getMetrics = defineOperation({
  summary: 'Metrics for Prometheus',
  response: z.string(),
  responseType: 'text/plain',
  async handler({ ports, context }) {
    const { body, type } = await ports.metrics.render();
    return context.body(body, 200, { 'content-type': type });
  },
});
