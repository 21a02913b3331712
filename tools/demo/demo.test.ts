import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { runDemo } from './demo.ts';

test('without a server the demo says so and writes no report', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  context.after(() => rm(folder, { recursive: true }));
  const out = path.join(folder, 'report.html');
  await assert.rejects(runDemo({ url: 'http://127.0.0.1:9', out, log: () => {} }), /nothing answers at/);
  assert.equal(existsSync(out), false);
});

test('a server that fails on the way leaves a report that says why', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  context.after(() => rm(folder, { recursive: true }));
  const answers: Record<string, object> = {
    '/health': { status: 'ok', postgres: 'ok', policy: 'pol_a' },
    '/v1/policies/pol_a': { id: 'pol_a', name: 'a', active: true, reference: null },
  };
  const server = createServer((request, response) => {
    const answer = answers[request.url!];
    if (!answer) response.writeHead(400);
    response.end(JSON.stringify(answer ?? { error: { message: 'out of order' } }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  context.after(() => server.close());
  const out = path.join(folder, 'report.html');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await assert.rejects(runDemo({ url, out, log: () => {}, quick: true }), /answered 400: out of order/);
  const page = await readFile(out, 'utf8');
  assert.match(page, /Ended early.*answered 400: out of order/s);
  assert.match(page, /The raters are simulated/);
});
