// The API on Node: connects its ports to Postgres, the policy store and ONNX Runtime, and listens.

import { readFile } from 'node:fs/promises';
import type { Server, ServerOptions } from 'node:http';
import type { Socket } from 'node:net';
import path from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { connect } from '../shared/database/connect.ts';
import { AttuneError } from '../shared/error.ts';
import { openFolderStore } from '../shared/policy/store.ts';
import type { Settings } from '../shared/settings.ts';
import { createApp } from './app.ts';
import { openInference } from './generation/slots.ts';
import { openMetrics } from './metrics.ts';
import { followPolicies } from './news.ts';

export type Edge = { url: string; close(): Promise<void> };

const DOCS_FILES: Record<string, string> = {
  'swagger-ui.css': 'text/css',
  'swagger-ui-bundle.js': 'text/javascript',
};

export async function startEdge(settings: Settings, databaseUrl: string): Promise<Edge> {
  const connection = connect(databaseUrl, { name: 'attune edge' });
  const store = await openFolderStore(path.join(settings.ATTUNE_HOME, 'policies'));
  const metrics = openMetrics({ maxQueue: settings.MAX_QUEUE });
  const inference = openInference({
    folderOf: store.folderOf,
    threads: settings.SERVE_THREADS,
    maxRows: settings.MAX_ROWS,
    maxQueue: settings.MAX_QUEUE,
    kvMemory: settings.KV_MEMORY,
    meter: metrics.meter,
  });
  const news = await followPolicies(connection, inference);
  const app = createApp({ db: connection.db, inference, settings, waitForNews: news.wait, metrics });
  app.get('/docs/:file', async (context) => {
    const file = context.req.param('file');
    const type = DOCS_FILES[file];
    if (!type) return context.notFound();
    const source = new URL(import.meta.resolve(`swagger-ui-dist/${file}`));
    return context.body(await readFile(source), 200, { 'content-type': type, 'cache-control': 'max-age=86400' });
  });

  const closePorts = async () => {
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
      // Streams in progress get ten seconds to end; new connections are refused at once.
      const ended = new Promise((resolve) => server.close(resolve));
      const impatience = setTimeout(() => server.closeAllConnections(), 10_000);
      server.closeIdleConnections();
      for (const socket of silent) socket.destroy();
      await ended;
      clearTimeout(impatience);
      await closePorts();
    },
  };
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
