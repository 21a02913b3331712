// How every process learns of a swap, even where the notice of it was lost, and what becomes of a policy refused once.

import assert from 'node:assert/strict';
import { copyFile, truncate } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { startEdge } from '../edge/node.ts';
import { activations } from '../shared/database/schema.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { type Json, setStage } from '../testing/edge-server.ts';

const stage = await setStage();
const { db } = stage.connection;

async function serves(url: string, id: string, within: number): Promise<number> {
  const began = performance.now();
  while (performance.now() - began < within) {
    const { policy } = (await (await fetch(`${url}/health`)).json()) as Json;
    if (policy === id) return performance.now() - began;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`${url} did not serve ${id} within ${within} ms`);
}

test('a swap reaches every process within two seconds, whether the notice of it came or was lost', async () => {
  const second = await startEdge(stage.settings, stage.databaseUrl);
  try {
    const edges = [stage.edge.url, second.url];
    const noticed = await stage.importTiny(2);
    await activatePolicy(db, noticed, 'test');
    await Promise.all(edges.map((url) => serves(url, noticed, 2000)));
    const unnoticed = await stage.importTiny(3);
    await db.insert(activations).values({ policy_id: unnoticed, reason: 'test' });
    await Promise.all(edges.map((url) => serves(url, unnoticed, 2000)));
  } finally {
    await second.close();
  }
});

test('a policy that was refused is tried again, and served once its package is whole', async () => {
  const id = await stage.importTiny(4);
  const weights = path.join(stage.home, 'policies', id, 'onnx', 'model.onnx_data');
  await copyFile(weights, `${weights}.whole`);
  await truncate(weights, 100);
  const before = ((await stage.request('/health')).body as Json).policy;
  await activatePolicy(db, id, 'test');
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal((await stage.request('/health')).body.policy, before);
  await copyFile(`${weights}.whole`, weights);
  await serves(stage.edge.url, id, 5000);
});
