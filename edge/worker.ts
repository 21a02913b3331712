// The API on Cloudflare Workers: fetch serves requests, scheduled runs the cron, queue consumes background work. This file
// only connects them; the code that is specific to Workers is in cloudflare/.

import type { ExecutionContext, MessageBatch, ScheduledController } from '@cloudflare/workers-types';
import { LinearRouter } from 'hono/router/linear-router';
import { log, setLogOutput, writeJson } from '../shared/log.ts';
import { createApp } from './app.ts';
import { consumeBatch, runScheduled } from './cloudflare/background.ts';
import { readWorkerEnv } from './cloudflare/bindings.ts';
import { closeAfterResponse, openConnection, withConnection } from './cloudflare/connection.ts';
import { type Isolate, openIsolate, openPorts } from './cloudflare/worker-ports.ts';
import { toAttuneError, toErrorBody } from './http/errors.ts';

export { EdgeContainer } from './cloudflare/container.ts';

type Env = Record<string, unknown>;

let isolate: Isolate | undefined;

// Workers' logs index the fields of JSON lines.
setLogOutput(writeJson, 'info');

export default {
  async fetch(request: Request, env: Env, context: ExecutionContext): Promise<Response> {
    try {
      isolate ??= openIsolate(env);
    } catch (thrown) {
      const error = toAttuneError(thrown);
      log.error('attune', error.message, thrown);
      return Response.json(toErrorBody(error), { status: error.status, headers: { 'x-should-retry': 'false' } });
    }
    const connection = openConnection(isolate.bindings.HYPERDRIVE.connectionString);
    // The app serves one request: this router needs no compilation, which takes longer than the rest of createApp.
    const app = createApp(openPorts(isolate, connection, context), new LinearRouter());
    const response = Promise.resolve(app.fetch(request)).then((response) =>
      closeAfterResponse(response, connection, context),
    );
    // Without waitUntil a client that disconnects would cancel the work before its result is stored.
    context.waitUntil(response);
    return response;
  },

  /** Throws on a missing binding: Cloudflare reports the failed cron and retries a failed batch. */
  async scheduled({ scheduledTime }: ScheduledController, env: Env): Promise<void> {
    const { bindings, settings } = readWorkerEnv(env);
    await withConnection(bindings.HYPERDRIVE.connectionString, ({ db }) =>
      runScheduled(db, settings, bindings.BACKGROUND, new Date(scheduledTime)),
    );
  },

  async queue(batch: MessageBatch<unknown>, env: Env): Promise<void> {
    const { bindings, settings } = readWorkerEnv(env);
    await withConnection(bindings.HYPERDRIVE.connectionString, ({ db }) =>
      consumeBatch(batch, db, settings, bindings.BACKGROUND),
    );
  },
};
