// Every edge follows activations, by NOTIFY or by polling, and retries a policy that failed to load.

import assert from 'node:assert/strict';
import { copyFile, truncate } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { startEdge } from '../edge/node.ts';
import { activations } from '../shared/database/schema.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { waitUntil } from '../testing/wait-until.ts';

const server = await startEdgeServer();
const { db } = server.connection;

/** Milliseconds until the edge serves it. */
async function waitUntilServed(url: string, id: string): Promise<number> {
  const started = performance.now();
  await waitUntil(async () => ((await (await fetch(`${url}/health`)).json()) as Json).policy === id);
  return performance.now() - started;
}

test('a swap reaches every process, with and without a notification', async (context) => {
  const second = await startEdge(server.settings, server.databaseUrl);
  try {
    const edges = [server.edge.url, second.url];
    const notified = await server.importTiny(2);
    await activatePolicy(db, notified, 'test');
    const afterNotification = await Promise.all(edges.map((url) => waitUntilServed(url, notified)));
    const polled = await server.importTiny(3);
    await db.insert(activations).values({ policy_id: polled, reason: 'test' });
    const afterPoll = await Promise.all(edges.map((url) => waitUntilServed(url, polled)));
    context.diagnostic(
      `ms with a notification ${afterNotification.map(Math.round)}, without ${afterPoll.map(Math.round)}`,
    );
  } finally {
    await second.close();
  }
});

test('a policy that failed to load is retried, and served once its package is complete', async () => {
  const id = await server.importTiny(4);
  const weights = path.join(server.home, 'policies', id, 'onnx', 'model.onnx_data');
  await copyFile(weights, `${weights}.whole`);
  await truncate(weights, 100);
  const before = ((await server.request('/health')).body as Json).policy;
  await activatePolicy(db, id, 'test');
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal((await server.request('/health')).body.policy, before);
  await copyFile(`${weights}.whole`, weights);
  await waitUntilServed(server.edge.url, id);
});
