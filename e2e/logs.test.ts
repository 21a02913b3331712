// The logs of real processes: a JSON line for each request, and never what a user wrote, whatever fails.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { rounds, webhook_events } from '../shared/database/schema.ts';
import { requestRound } from '../shared/rounds/schedule.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { openEdgeProcesses } from '../testing/edge-processes.ts';
import { openTcpProxy } from '../testing/tcp-proxy.ts';
import { waitUntil } from '../testing/wait-until.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const SECRET = 'Zanzibar';
const API_KEY = 'a-secret-key';

const { home, connection, importTiny, start } = await openEdgeProcesses();
const { db } = connection;
const policyId = await importTiny({ seed: 1 });
await activatePolicy(db, policyId, 'test');
const proxy = await openTcpProxy(connection.url);
const server = await start({ DATABASE_URL: proxy.url, API_KEY });

type Line = Record<string, string | number> & { err?: Record<string, unknown> };

const requestLines = (output: string): Line[] =>
  output
    .trim()
    .split('\n')
    // The platform prints an error that ends a body.
    .filter((line) => !line.startsWith('[a response broke off'))
    .map((line) => JSON.parse(line) as Line)
    .filter(({ area }) => area === 'http');

/** Sends a request and returns the line that it logged. */
async function request(route: string, body?: unknown, headers: Record<string, string> = {}): Promise<Line> {
  const response = await fetch(server.url + route, {
    ...(body === undefined ? {} : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }),
    headers: { authorization: `Bearer ${API_KEY}`, 'content-type': 'application/json', ...headers },
  });
  const id = response.headers.get('x-request-id');
  const text = await response.text();
  const line = await waitUntil(() => requestLines(server.output()).find(({ request_id }) => request_id === id));
  assert.equal(line.status, response.status, text);
  return line;
}

async function runCommand(args: string[], env: Record<string, string> = {}): Promise<string> {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, DATABASE_URL: connection.url, ATTUNE_HOME: home, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  await new Promise((resolve) => child.once('close', resolve));
  return output;
}

test('a request is one JSON line with its route, policy, tokens and key', async () => {
  const line = await request('/v1/completions', { prompt: SECRET, max_tokens: 4, seed: 1, user: SECRET });
  const { time, request_id, ms, key, prompt_tokens, completion_tokens, ...rest } = line;
  assert.ok(Date.parse(String(time)) > 0);
  assert.match(String(request_id), /^req_/);
  assert.ok(Number(ms) > 0);
  assert.match(String(key), /^key_/);
  assert.ok(Number(prompt_tokens) > 0 && Number(completion_tokens) > 0);
  assert.deepEqual(rest, {
    level: 'info',
    area: 'http',
    method: 'POST',
    route: '/v1/completions',
    status: 200,
    policy: policyId,
    msg: 'POST /v1/completions 200',
  });
  const ids = requestLines(server.output()).map(({ request_id }) => request_id);
  assert.equal(new Set(ids).size, ids.length);
});

test('a stream is logged when it has ended, a rejected request with its code, and a path by its pattern', async () => {
  const streamed = await request('/v1/chat/completions', {
    messages: [{ role: 'user', content: SECRET }],
    max_tokens: 4,
    stream: true,
  });
  assert.ok(Number(streamed.completion_tokens) > 0 && Number(streamed.ms) > 0);
  assert.equal((await request('/v1/completions', { prompt: SECRET, [SECRET]: 1 })).error, 'unknown_parameter');
  assert.equal((await request('/v1/completions', SECRET)).error, 'invalid_json');
  assert.equal((await request('/v1/completions', { prompt: SECRET, model: SECRET })).error, 'model_not_found');
  assert.equal((await request(`/v1/comparisons/${SECRET}`)).route, '/v1/comparisons/:id');
  assert.equal((await request(`/${SECRET}`)).route, 'none');
  assert.equal(
    (await request('/v1/models', undefined, { authorization: `Bearer ${SECRET}` })).error,
    'invalid_api_key',
  );
});

test('a failed statement is logged with its SQLSTATE and constraint, without SQL and parameters', async () => {
  const preference = { prompt: SECRET, chosen: `${SECRET} yes`, rejected: 'no', rater: SECRET };
  await db.execute(
    sql.raw(`alter table preferences add constraint never_stored check (chosen not like '%${SECRET}%')`),
  );
  const line = await request('/v1/preferences', preference);
  assert.deepEqual([line.status, line.level, line.error], [500, 'error', 'internal_error']);
  assert.match(JSON.stringify(line.err), /never_stored.*"code":"23514"/);

  await db.execute(sql`alter table preferences rename to hidden`);
  const response = await fetch(`${server.url}/v1/preferences/export`, {
    headers: { authorization: `Bearer ${API_KEY}` },
  });
  await assert.rejects(response.text());
  await db.execute(sql`alter table hidden rename to preferences`);
  const broken = await waitUntil(() =>
    requestLines(server.output()).find(({ route }) => route === '/v1/preferences/export'),
  );
  assert.deepEqual([broken.error, broken.level], ['internal_error', 'error']);
  assert.match(JSON.stringify(broken.err), /"code":"42P01"/);

  const file = path.join(home, 'votes.jsonl');
  await writeFile(file, `${JSON.stringify({ prompt: SECRET, chosen: SECRET, rejected: 'no' })}\n`);
  assertSecretFree(await runCommand(['preferences', 'import', file]));
  await db.execute(sql`alter table preferences drop constraint never_stored`);
});

test('without Postgres, requests fail without their content in the log', async () => {
  await proxy.refuse();
  const line = await request('/v1/preferences', { prompt: SECRET, chosen: SECRET, rejected: 'no' });
  assert.deepEqual([line.status, line.error], [503, 'postgres_unavailable']);
  await proxy.forward();
});

test('a round that fails on a statement shows no SQL, in its log, its row or its webhook', async () => {
  for (let at = 0; at < 40; at++)
    await request('/v1/preferences', { prompt: `${SECRET} ${at}:`, chosen: ' yes', rejected: ' no' });
  await db.execute(sql`alter table round_pairs add constraint never_stored check (round_id = '')`);
  await requestRound(db, 'api', {});
  const output = await runCommand(['train', '--due'], { TRAIN_THREADS: '1', ENGINE: 'onnx' });
  assertSecretFree(output);
  for (const line of output.trim().split('\n')) assert.equal(typeof JSON.parse(line).msg, 'string');
  assert.match(output, /"code":"23514"/);
  const stored = [await db.select().from(rounds), await db.select().from(webhook_events)];
  assert.match(JSON.stringify(stored), /23514/);
  assertSecretFree(JSON.stringify(stored));
});

test('nothing that a user wrote is in the output of the server', () => {
  assert.ok(requestLines(server.output()).length > 40);
  assertSecretFree(server.output());
  assert.doesNotMatch(server.output(), new RegExp(API_KEY));
});

function assertSecretFree(output: string): void {
  assert.notEqual(output, '');
  assert.doesNotMatch(output, new RegExp(SECRET));
  assert.doesNotMatch(output, /Failed query|insert into|params:/);
}
