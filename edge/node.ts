// The API on Node: connects its ports to Postgres, the policy store and ONNX Runtime, and listens.

import { readFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import path from 'node:path';
import { serve } from '@hono/node-server';
import { connect } from '../shared/database/connect.ts';
import { AttuneError } from '../shared/error.ts';
import { openFolderStore } from '../shared/policy/store.ts';
import type { Settings } from '../shared/settings.ts';
import { createApp } from './app.ts';
import { openInference } from './generation/slots.ts';
import { followPolicies } from './news.ts';

export type Edge = { url: string; close(): Promise<void> };

const DOCS_FILES: Record<string, string> = {
  'swagger-ui.css': 'text/css',
  'swagger-ui-bundle.js': 'text/javascript',
};

export async function startEdge(settings: Settings, databaseUrl: string): Promise<Edge> {
  const connection = connect(databaseUrl, { name: 'attune edge' });
  const store = await openFolderStore(path.join(settings.ATTUNE_HOME, 'policies'));
  const inference = openInference({
    folderOf: store.folderOf,
    threads: settings.SERVE_THREADS,
    maxRows: settings.MAX_ROWS,
    maxQueue: settings.MAX_QUEUE,
  });
  const news = await followPolicies(connection, inference);
  const app = createApp({ db: connection.db, inference, settings, waitForNews: news.wait });
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
  };
  let server: Server;
  try {
    server = await listen(app.fetch, settings);
  } catch (error) {
    await closePorts();
    throw error;
  }
  const { port } = server.address() as { port: number };
  const host = settings.HOST.includes(':') ? `[${settings.HOST}]` : settings.HOST;
  return {
    url: `http://${host}:${port}`,
    async close() {
      // Streams in progress get ten seconds to end; new connections are refused at once.
      const ended = new Promise((resolve) => server.close(resolve));
      const impatience = setTimeout(() => server.closeAllConnections(), 10_000);
      server.closeIdleConnections();
      await ended;
      clearTimeout(impatience);
      await closePorts();
    },
  };
}

function listen(fetch: (request: Request) => Response | Promise<Response>, settings: Settings): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = serve({ fetch, hostname: settings.HOST, port: settings.PORT }, () => resolve(server)) as Server;
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      reject(
        new AttuneError(`PORT: ${settings.PORT} is in use on ${settings.HOST}; stop what listens there, or set PORT`),
      );
    });
  });
}
