// Whether it is alive (/status), whether it can serve (/health) and how it does (/metrics); open to everybody, since
// load balancers and Prometheus ask. None of them tells what was said, or by whom.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { sql } from 'drizzle-orm';
import { addOperation } from '../http/operation.ts';
import type { Ports } from '../ports.ts';

const health = z.object({
  status: z.enum(['ok', 'unavailable']),
  postgres: z.enum(['ok', 'unreachable']),
  policy: z.string().nullable(),
  compute: z.object({ place: z.enum(['node', 'worker', 'container', 'url', 'none']), reason: z.string() }).nullable(),
});

export function addHealth(app: OpenAPIHono, { db, getServingStatus: serving, metrics }: Ports): void {
  addOperation(
    app,
    {
      method: 'get',
      path: '/status',
      tag: 'Health',
      summary: 'Alive',
      response: z.object({ status: z.literal('ok') }),
    },
    async () => ({ status: 'ok' }),
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/health',
      tag: 'Health',
      summary: 'Whether it can serve; 503 while it cannot',
      response: health,
    },
    async ({ context }) => {
      const [postgres, { policy, compute }] = await Promise.all([
        db.execute(sql`select 1`).then(
          () => 'ok' as const,
          () => 'unreachable' as const,
        ),
        serving().catch(() => ({ policy: null, compute: null })),
      ]);
      const able = postgres === 'ok' && policy !== null && compute?.place !== 'none';
      return context.json({ status: able ? 'ok' : 'unavailable', postgres, policy, compute }, able ? 200 : 503);
    },
  );

  if (!metrics) return;
  addOperation(
    app,
    {
      method: 'get',
      path: '/metrics',
      tag: 'Health',
      summary: 'Numbers for Prometheus',
      response: z.string(),
      responseType: 'text/plain',
    },
    async ({ context }) => {
      const { body, type } = await metrics.render();
      return context.body(body, 200, { 'content-type': type });
    },
  );
}
