// The API on Node: connects its ports to Postgres, the policy store and ONNX Runtime, and listens. Run as it is
// (`node edge/node.ts`) it is what a container runs: it has no Postgres of its own, and refuses to start without one.

import { readFile } from 'node:fs/promises';
import type { Server, ServerOptions } from 'node:http';
import type { Socket } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { connect } from '../shared/database/connect.ts';
import { migrateDatabase } from '../shared/database/migrate.ts';
import { AttuneError } from '../shared/error.ts';
import { runProgram, waitForSignal } from '../shared/process.ts';
import { ensureDefaultPolicy } from '../shared/publish/default-policy.ts';
import { readSettings, type Settings } from '../shared/settings.ts';
import { openLocalStore } from '../shared/store/local-store.ts';
import { startWebhookDelivery } from '../shared/webhooks/delivery-loop.ts';
import { createApp } from './app.ts';
import { openInference } from './engine/policy-pool.ts';
import { openMetrics } from './metrics/metrics.ts';
import { watchPolicies } from './policy-watcher.ts';
import type { Placement } from './ports.ts';

export type Edge = { url: string; close(): Promise<void> };

/** Milliseconds that streams in progress get to end when the process is told to. */
export const DRAIN_TIMEOUT_MS = 10_000;

/** Milliseconds between two looks at copies of policies that nobody needs. */
const TRIM_EVERY = 60_000;

const COMPUTE: Placement = { place: 'node', reason: 'this process has ONNX Runtime' };

export async function startEdge(settings: Settings, databaseUrl: string): Promise<Edge> {
  const connection = connect(databaseUrl, { name: 'attune edge' });
  const shelf = await openLocalStore(settings);
  const metrics = openMetrics({ maxQueue: settings.MAX_QUEUE });
  const inference = openInference({
    folderOf: shelf.folderOf,
    threads: settings.SERVE_THREADS,
    maxRows: settings.MAX_ROWS,
    maxQueue: settings.MAX_QUEUE,
    kvMemory: settings.KV_MEMORY,
    instrumentation: metrics.instrumentation,
  });
  const news = await watchPolicies(connection, inference);
  const webhooks = await startWebhookDelivery(connection, settings);
  const trimming = setInterval(() => shelf.trim(inference.listInUse()).catch(leaveCopies), TRIM_EVERY);
  const app = createApp({
    db: connection.db,
    inference,
    settings,
    async getServingStatus() {
      const policy = inference.active()?.id ?? null;
      return { policy, compute: policy === null ? null : COMPUTE };
    },
    placeRequest: async () => COMPUTE,
    openDocsFile: async (name) => new Response(await readFile(new URL(import.meta.resolve(`swagger-ui-dist/${name}`)))),
    waitForChange: news.waitForChange,
    metrics,
  });

  const closePorts = async () => {
    clearInterval(trimming);
    await webhooks.close();
    await news.close();
    await inference.close();
    await connection.close();
    metrics.close();
  };
  let server: Server;
  try {
    server = await listen(app.fetch, settings);
  } catch (error) {
    await closePorts();
    throw error;
  }
  const silent = followSilent(server);
  const { port } = server.address() as { port: number };
  const host = settings.HOST.includes(':') ? `[${settings.HOST}]` : settings.HOST;
  return {
    url: `http://${host}:${port}`,
    async close() {
      // Streams in progress get some time to end; new connections are refused at once.
      const ended = new Promise((resolve) => server.close(resolve));
      const impatience = setTimeout(() => server.closeAllConnections(), DRAIN_TIMEOUT_MS);
      // Kept-alive connections become idle one by one, and nobody closes those that do so after this.
      const sweeping = setInterval(() => server.closeIdleConnections(), 50);
      for (const socket of silent) socket.destroy();
      await ended;
      clearInterval(sweeping);
      clearTimeout(impatience);
      await closePorts();
    },
  };
}

function leaveCopies(error: unknown): void {
  if (!(error instanceof AttuneError)) console.error('internal: policies that nobody needs stay on this disk:', error);
}

/** The API with a policy to serve, until told to stop; streams in progress end first. */
export async function serve(settings: Settings, databaseUrl: string, stopped: Promise<string>): Promise<void> {
  const connection = connect(databaseUrl, { max: 2 });
  const shelf = await openLocalStore(settings);
  await ensureDefaultPolicy(connection, shelf, settings.PRECISION, () =>
    console.log('attune: policy: converting the default policy, stories15M; a few seconds, once'),
  );
  await connection.close();
  const edge = await startEdge(settings, databaseUrl);
  console.log(`attune: serving at ${edge.url}`);
  console.log(`attune: stopping (${await stopped})`);
  await edge.close();
}

/** Connections on which nothing was asked yet, as browsers open them to be quick later: a server does not call them idle. */
function followSilent(server: Server): Set<Socket> {
  const silent = new Set<Socket>();
  server.on('connection', (socket) => {
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
  });
  server.on('request', ({ socket }) => silent.delete(socket));
  return silent;
}

/** How long clients may take, in milliseconds. */
const PATIENCE: ServerOptions = {
  // A request's headers; its body has a limit of its own (body.ts), which an import, streaming for long, has not.
  headersTimeout: 10_000,
  requestTimeout: 3_600_000,
  connectionsCheckingInterval: 2_000,
  // Longer than the minute after which load balancers drop a quiet connection, or they would send into a closed one.
  keepAliveTimeout: 65_000,
};
/** Connections that may wait to be accepted: a thousand clients at once are no fault. */
const BACKLOG = 4096;

function listen(fetch: (request: Request) => Response | Promise<Response>, settings: Settings): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createAdaptorServer({ fetch, serverOptions: PATIENCE }) as Server;
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      reject(
        new AttuneError(`PORT: ${settings.PORT} is in use on ${settings.HOST}; stop what listens there, or set PORT`),
      );
    });
    server.listen({ host: settings.HOST, port: settings.PORT, backlog: BACKLOG }, () => resolve(server));
  });
}

if (import.meta.main) {
  await runProgram(async () => {
    const stopped = waitForSignal();
    const settings = readSettings(process.env);
    if (!settings.DATABASE_URL)
      throw new AttuneError(
        'settings: DATABASE_URL: not set; give the URL of the Postgres that all edges and the trainer share (`attune serve` brings one of its own)',
        { code: 'invalid_settings' },
      );
    await migrateDatabase(settings.DATABASE_URL);
    await serve(settings, settings.DATABASE_URL, stopped);
    process.exit(0);
  });
}
