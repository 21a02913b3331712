// The API on Cloudflare Workers: fetch answers, scheduled marks what is due, queue does what may be late. Nothing but
// wiring; what is the Worker's own lies in cloudflare/.

import type { ExecutionContext, MessageBatch, ScheduledController } from '@cloudflare/workers-types';
import { createApp } from './app.ts';
import { consumeBatch, runScheduled } from './cloudflare/background.ts';
import { readWorkerEnv } from './cloudflare/bindings.ts';
import { closeAfterResponse, openConnection, withConnection } from './cloudflare/connection.ts';
import { type Isolate, openIsolate, openPorts } from './cloudflare/ports.ts';
import { toAttuneError, toErrorBody } from './http/errors.ts';

export { EdgeContainer } from './cloudflare/container.ts';

type Env = Record<string, unknown>;

let isolate: Isolate | undefined;

export default {
  async fetch(request: Request, env: Env, context: ExecutionContext): Promise<Response> {
    try {
      isolate ??= openIsolate(env);
    } catch (error) {
      const known = toAttuneError(error);
      return Response.json(toErrorBody(known), { status: known.status, headers: { 'x-should-retry': 'false' } });
    }
    const connection = openConnection(isolate.bindings.HYPERDRIVE.connectionString);
    const app = createApp(openPorts(isolate, connection, context));
    const answer = Promise.resolve(app.fetch(request)).then((response) =>
      closeAfterResponse(response, connection, context),
    );
    // Or a client that leaves would end what is done for it in the middle: what there is, is stored first.
    context.waitUntil(answer);
    return answer;
  },

  /** Throws where something is missing: Cloudflare shows a cron that failed, and tries a batch again. */
  async scheduled({ scheduledTime }: ScheduledController, env: Env): Promise<void> {
    const { bindings, settings } = readWorkerEnv(env);
    await withConnection(bindings.HYPERDRIVE.connectionString, ({ db }) =>
      runScheduled(db, settings, bindings.BACKGROUND, new Date(scheduledTime)),
    );
  },

  async queue(batch: MessageBatch<unknown>, env: Env): Promise<void> {
    const { bindings, settings } = readWorkerEnv(env);
    await withConnection(bindings.HYPERDRIVE.connectionString, ({ db }) => consumeBatch(batch, db, settings));
  },
};
