// A Worker with background work only, for e2e/background.test.ts: it counts requests and has a cron and a queue.

import type { ExecutionContext, Hyperdrive, MessageBatch, Queue, ScheduledController } from '@cloudflare/workers-types';
import { type BackgroundMessage, consumeBatch, runScheduled } from '../edge/cloudflare/background.ts';
import { openWorkerMetrics } from '../edge/cloudflare/metrics-counter.ts';
import { type Connection, connect } from '../shared/database/connect.ts';
import { readSettings } from '../shared/settings.ts';

type Env = {
  HYPERDRIVE: Hyperdrive;
  BACKGROUND: Queue<BackgroundMessage>;
  WEBHOOK_URL: string;
  WEBHOOK_SECRET: string;
};

const toSettings = ({ WEBHOOK_URL, WEBHOOK_SECRET }: Env) =>
  readSettings({ WEBHOOK_URL, WEBHOOK_SECRET, TRAIN_SCHEDULE: '* * * * *', TRAIN_MIN_PAIRS: '1' });

async function withDatabase<T>(env: Env, run: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = connect(env.HYPERDRIVE.connectionString, { max: 5 });
  try {
    return await run(connection);
  } finally {
    await connection.close();
  }
}

export default {
  fetch: (request: Request, env: Env, context: ExecutionContext) =>
    withDatabase(env, async ({ db }) => {
      const waitUntil = (promise: Promise<unknown>) => context.waitUntil(promise);
      const metrics = openWorkerMetrics({ db, queue: env.BACKGROUND, waitUntil });
      if (new URL(request.url).pathname === '/metrics') return new Response((await metrics.render()).body);
      metrics.observeResponse({ method: request.method, route: '/counted', status: 200, seconds: 0.25 });
      return new Response('counted');
    }),
  scheduled: (controller: ScheduledController, env: Env) =>
    withDatabase(env, ({ db }) =>
      runScheduled(db, toSettings(env), env.BACKGROUND, new Date(controller.scheduledTime)),
    ),
  queue: (batch: MessageBatch<unknown>, env: Env) =>
    withDatabase(env, ({ db }) => consumeBatch(batch, db, toSettings(env), env.BACKGROUND)),
};
