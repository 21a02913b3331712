import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { runDemo } from './demo.ts';

test('fails without a report when the server is unreachable', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  context.after(() => rm(folder, { recursive: true }));
  const out = path.join(folder, 'report.html');
  await assert.rejects(runDemo({ url: 'http://127.0.0.1:9', out, log: () => {} }), /cannot connect to/);
  assert.equal(existsSync(out), false);
});

test('writes a report with the error when the server fails midway', async (context) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-test-'));
  context.after(() => rm(folder, { recursive: true }));
  const responses: Record<string, object> = {
    '/health': { status: 'ok', postgres: 'ok', policy: 'pol_a' },
    '/v1/policies/pol_a': { id: 'pol_a', name: 'a', active: true, reference: null },
  };
  const server = createServer((request, response) => {
    const body = responses[request.url!];
    if (!body) response.writeHead(400);
    response.end(JSON.stringify(body ?? { error: { message: 'out of order' } }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  context.after(() => server.close());
  const out = path.join(folder, 'report.html');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await assert.rejects(runDemo({ url, out, log: () => {}, quick: true }), /responded with 400: out of order/);
  const page = await readFile(out, 'utf8');
  assert.match(page, /Ended early.*responded with 400: out of order/s);
  assert.match(page, /The raters are simulated/);
});
