// npm run dev:worker as people use it: one command, a Worker in workerd, the loop turned from a second terminal, Ctrl-C.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { desc } from 'drizzle-orm';
import { openContext } from '../cli/context.ts';
import { type Connection, connect } from '../shared/database/connect.ts';
import { activations } from '../shared/database/schema.ts';
import { importPolicy } from '../shared/publish/publish.ts';
import type { Settings } from '../shared/settings.ts';
import { openLocalStore } from '../shared/store/local-store.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { until } from '../testing/edge-processes.ts';
import type { Json } from '../testing/edge-server.ts';
import { type TinyOptions, writeTinyCheckpoint } from '../testing/tiny-checkpoint.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const home = await mkdtemp(path.join(tmpdir(), 'attune-dev-worker-'));
await chmod(home, 0o755);
const started: ChildProcess[] = [];
after(async () => {
  for (const pid of await pidsOf(/./)) process.kill(pid, 'SIGKILL');
  await Promise.all(started.map(end));
  await rm(home, { recursive: true, force: true });
});

type Running = { child: ChildProcess; url: string; said(): string };

async function launch(env: Record<string, string> = {}): Promise<Running> {
  const { child, said } = run(['dev-worker'], env);
  const url = await until(90_000, () => {
    if (child.exitCode !== null) throw new Error(`it ended: ${said()}`);
    return /ready at (\S+)/.exec(said())?.[1];
  });
  return { child, url, said };
}

function run(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, ATTUNE_HOME: home, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk));
  return { child, said: () => said };
}

/** A command in a second terminal, to its end. */
async function attune(...args: string[]): Promise<string> {
  const { child, said } = run(args);
  assert.equal(await end(child), 0, said());
  return said();
}

function end(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('close', resolve));
}

/** Whatever runs for this home, which is in its environment or its command line, and whose command line matches. */
async function pidsOf(command: RegExp): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).map(Number)) {
    if (!(pid > 0) || pid === process.pid) continue;
    const read = (file: string) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
    const line = await read('cmdline');
    if (command.test(line) && `${line}${await read('environ')}`.includes(home)) found.push(pid);
  }
  return found;
}

async function ask(url: string, route: string, json: unknown) {
  const response = await fetch(url + route, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(json),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Json };
}

const complete = (url: string, model = 'attune') =>
  ask(url, '/v1/completions', { model, prompt: 'Once upon', max_tokens: 4 });

/** Milliseconds from the row of the activation, which the command writes, until the Worker answers from that policy. */
async function arrival(url: string, policy: string, ...command: string[]): Promise<number> {
  const served = until(30_000, async () => (await complete(url)).body.model === policy && Date.now());
  await attune(...command);
  return (await served) - (await activatedAt());
}

async function activatedAt(): Promise<number> {
  return inHome(async ({ db }) => {
    const [row] = await db.select().from(activations).orderBy(desc(activations.id)).limit(1);
    return row!.created_at.getTime();
  });
}

async function makeTiny(options: TinyOptions, isActive: boolean): Promise<string> {
  return inHome(async ({ db }, settings) => {
    const shelf = await openLocalStore(settings);
    const draft = await shelf.createStaging();
    await writeTinyCheckpoint(draft, options);
    const id = await importPolicy(db, shelf, draft, `tiny ${options.seed}`, { precision: 'fp32' });
    await shelf.discard(draft);
    if (isActive) await activatePolicy(db, id, 'test');
    return id;
  });
}

async function inHome<T>(work: (connection: Connection, settings: Settings) => Promise<T>): Promise<T> {
  const room = await openContext(undefined, { ATTUNE_HOME: home });
  const connection = connect(room.databaseUrl, { name: 'attune test', max: 2 });
  try {
    return await work(connection, room.settings);
  } finally {
    await connection.close();
    await room.close();
  }
}

let first: string;
before(async () => {
  first = await makeTiny({ seed: 1 }, true);
});

test('one command serves from workerd, learns of policies within five seconds, and Ctrl-C leaves nothing', async (t) => {
  const { child, url, said } = await launch({
    WORKER_POLICY_BYTES: '1000000',
    WEBHOOK_URL: 'http://127.0.0.1:9/$HOME',
    WEBHOOK_SECRET: `whsec_${'a'.repeat(32)}`,
  });
  const { status, headers, body } = await complete(url);
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(body.model, first);
  assert.equal(headers.get('x-attune-compute'), 'worker', headers.get('x-attune-compute-reason') ?? '');

  const vote = await ask(url, '/v1/preferences', { prompt: 'Once', chosen: ' upon', rejected: ' down', rater: 'me' });
  assert.equal(vote.status, 200);
  assert.match(await attune('preferences', 'export'), / upon/);

  const second = await makeTiny({ seed: 2 }, false);
  const promoted = await arrival(url, second, 'policies', 'promote', second);
  const rolledBack = await arrival(url, first, 'policies', 'rollback');
  t.diagnostic(`promoted after ${promoted.toFixed(0)} ms, rolled back after ${rolledBack.toFixed(0)} ms`);
  assert.ok(promoted < 5000, `${promoted} ms`);
  assert.ok(rolledBack < 5000, `${rolledBack} ms`);

  const large = await makeTiny({ seed: 3, hiddenSize: 256, intermediateSize: 512, layers: 2 }, false);
  const elsewhere = await complete(url, large);
  assert.equal(elsewhere.body.model, large, JSON.stringify(elsewhere.body));
  assert.equal(
    elsewhere.headers.get('x-attune-compute'),
    'url',
    elsewhere.headers.get('x-attune-compute-reason') ?? '',
  );

  const { port } = new URL(url);
  const another = run(['dev-worker'], { PORT: port, ATTUNE_HOME: path.join(home, 'second') });
  assert.equal(await end(another.child), 1);
  assert.match(another.said(), new RegExp(`attune: PORT: ${port} is in use on 127\\.0\\.0\\.1`));

  const variables = await readFile(path.join(home, 'worker', 'variables.env'), 'utf8');
  assert.match(variables, /^WEBHOOK_URL='http:\/\/127\.0\.0\.1:9\/\\\$HOME'$/m);
  child.kill('SIGINT');
  assert.equal(await end(child), 0, said());
  assert.match(said(), /stopping \(SIGINT\)[\s\S]*stopped/);
  assert.deepEqual(await pidsOf(/./), []);
  await assert.rejects(fetch(url));
});

test('a wrangler that dies ends everything, with 1 and a sentence', async () => {
  const { child, said } = await launch();
  const [wrangler] = await pidsOf(/bin\/wrangler\.js/);
  process.kill(wrangler!, 'SIGKILL');
  assert.equal(await end(child), 1, said());
  assert.match(said(), /wrangler dev exited unexpectedly \(SIGKILL\)/);
  assert.deepEqual(await pidsOf(/./), []);
});

test('kill -9 takes the Worker along', async () => {
  const { child } = await launch();
  child.kill('SIGKILL');
  await end(child);
  // Postgres stays, as after every kill -9, for the next start to join.
  await until(15_000, async () => (await pidsOf(/wrangler|workerd|cli\.ts/)).length === 0);
});
