// Every edge follows activations, by NOTIFY or by polling, and retries a policy that failed to load.

import assert from 'node:assert/strict';
import { copyFile, truncate } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { startEdge } from '../edge/node.ts';
import { activations } from '../shared/database/schema.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';

const server = await startEdgeServer();
const { db } = server.connection;

async function waitUntilServed(url: string, id: string, timeoutMs: number): Promise<number> {
  const started = performance.now();
  while (performance.now() - started < timeoutMs) {
    const { policy } = (await (await fetch(`${url}/health`)).json()) as Json;
    if (policy === id) return performance.now() - started;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`${url} did not serve ${id} within ${timeoutMs} ms`);
}

test('a swap reaches every process within two seconds, with and without a notification', async () => {
  const second = await startEdge(server.settings, server.databaseUrl);
  try {
    const edges = [server.edge.url, second.url];
    const notified = await server.importTiny(2);
    await activatePolicy(db, notified, 'test');
    await Promise.all(edges.map((url) => waitUntilServed(url, notified, 2000)));
    const polled = await server.importTiny(3);
    await db.insert(activations).values({ policy_id: polled, reason: 'test' });
    await Promise.all(edges.map((url) => waitUntilServed(url, polled, 2000)));
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
  await waitUntilServed(server.edge.url, id, 5000);
});
