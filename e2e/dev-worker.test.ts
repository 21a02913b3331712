// npm run dev:worker as processes: a Worker in workerd, commands from a second terminal, Ctrl-C.

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
import type { Json } from '../testing/edge-server.ts';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from '../testing/tiny-checkpoint.ts';
import { waitUntil } from '../testing/wait-until.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const home = await mkdtemp(path.join(tmpdir(), 'attune-dev-worker-'));
await chmod(home, 0o755);
const started: ChildProcess[] = [];
after(async () => {
  for (const pid of await findProcesses(/./)) process.kill(pid, 'SIGKILL');
  await Promise.all(started.map(waitForExit));
  await rm(home, { recursive: true, force: true });
});

type Running = { child: ChildProcess; url: string; output(): string };

async function startWorker(env: Record<string, string> = {}): Promise<Running> {
  const { child, output } = run(['dev-worker'], env);
  const url = await waitUntil(() => {
    if (child.exitCode !== null) throw new Error(`the process exited: ${output()}`);
    return /ready at ([^\s"]+)/.exec(output())?.[1];
  }, 90_000);
  return { child, url, output };
}

function run(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, ATTUNE_HOME: home, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  return { child, output: () => output };
}

/** Runs a command to completion and returns its output. */
async function attune(...args: string[]): Promise<string> {
  const { child, output } = run(args);
  assert.equal(await waitForExit(child), 0, output());
  return output();
}

function waitForExit(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('close', resolve));
}

/** Processes with this home in their environment or command line, and a matching command line. */
async function findProcesses(command: RegExp): Promise<number[]> {
  const found: number[] = [];
  for (const pid of (await readdir('/proc')).map(Number)) {
    if (!(pid > 0) || pid === process.pid) continue;
    const read = (file: string) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
    const line = await read('cmdline');
    if (command.test(line) && `${line}${await read('environ')}`.includes(home)) found.push(pid);
  }
  return found;
}

async function post(url: string, route: string, json: unknown) {
  const response = await fetch(url + route, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(json),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as Json };
}

const complete = (url: string, model = 'attune') =>
  post(url, '/v1/completions', { model, prompt: 'Once upon', max_tokens: 4 });

/** Milliseconds from the activation, which the command writes, until the Worker serves the policy. */
async function measureSwap(url: string, policy: string, ...command: string[]): Promise<number> {
  const served = waitUntil(async () => (await complete(url)).body.model === policy && Date.now(), 30_000);
  await attune(...command);
  return (await served) - (await getActivationTime());
}

async function getActivationTime(): Promise<number> {
  return withDatabase(async ({ db }) => {
    const [row] = await db.select().from(activations).orderBy(desc(activations.id)).limit(1);
    return row!.created_at.getTime();
  });
}

async function importTiny(options: TinyCheckpointOptions, isActive: boolean): Promise<string> {
  return withDatabase(async ({ db }, settings) => {
    const localStore = await openLocalStore(settings, db);
    const staging = await localStore.createStaging();
    await writeTinyCheckpoint(staging, options);
    const id = await importPolicy(db, localStore, staging, `tiny ${options.seed}`, { precision: 'fp32' });
    await localStore.discardStaging(staging);
    if (isActive) await activatePolicy(db, id, 'test');
    return id;
  });
}

async function withDatabase<T>(work: (connection: Connection, settings: Settings) => Promise<T>): Promise<T> {
  const context = await openContext(undefined, { ATTUNE_HOME: home });
  const connection = connect(context.databaseUrl, { name: 'attune test', max: 2 });
  try {
    return await work(connection, context.settings);
  } finally {
    await connection.close();
    await context.close();
  }
}

let first: string;
before(async () => {
  first = await importTiny({ seed: 1 }, true);
});

test('one command serves from workerd, follows activations within five seconds, and Ctrl-C leaves no process', async (t) => {
  const { child, url, output } = await startWorker({
    WORKER_POLICY_BYTES: '1000000',
    WEBHOOK_URL: 'http://127.0.0.1:9/$HOME',
    WEBHOOK_SECRET: `whsec_${'a'.repeat(32)}`,
  });
  const { status, headers, body } = await complete(url);
  assert.equal(status, 200, JSON.stringify(body));
  assert.equal(body.model, first);
  assert.equal(headers.get('x-attune-compute'), 'worker', headers.get('x-attune-compute-reason') ?? '');

  const vote = await post(url, '/v1/preferences', { prompt: 'Once', chosen: ' upon', rejected: ' down', rater: 'me' });
  assert.equal(vote.status, 200);
  assert.match(await attune('preferences', 'export'), / upon/);

  const second = await importTiny({ seed: 2 }, false);
  const promoted = await measureSwap(url, second, 'policies', 'promote', second);
  const rolledBack = await measureSwap(url, first, 'policies', 'rollback');
  t.diagnostic(`promoted after ${promoted.toFixed(0)} ms, rolled back after ${rolledBack.toFixed(0)} ms`);
  assert.ok(promoted < 5000, `${promoted} ms`);
  assert.ok(rolledBack < 5000, `${rolledBack} ms`);

  const large = await importTiny({ seed: 3, hiddenSize: 256, intermediateSize: 512, layers: 2 }, false);
  const forwarded = await complete(url, large);
  assert.equal(forwarded.body.model, large, JSON.stringify(forwarded.body));
  assert.equal(
    forwarded.headers.get('x-attune-compute'),
    'url',
    forwarded.headers.get('x-attune-compute-reason') ?? '',
  );

  const { port } = new URL(url);
  const another = run(['dev-worker'], { PORT: port, ATTUNE_HOME: path.join(home, 'second') });
  assert.equal(await waitForExit(another.child), 1);
  assert.match(another.output(), new RegExp(`attune: PORT: ${port} is in use on 127\\.0\\.0\\.1`));

  const variables = await readFile(path.join(home, 'worker', 'variables.env'), 'utf8');
  assert.match(variables, /^WEBHOOK_URL='http:\/\/127\.0\.0\.1:9\/\\\$HOME'$/m);
  child.kill('SIGINT');
  assert.equal(await waitForExit(child), 0, output());
  assert.match(output(), /stopping \(SIGINT\)[\s\S]*stopped/);
  assert.deepEqual(await findProcesses(/./), []);
  await assert.rejects(fetch(url));
});

test('when wrangler dies everything stops with exit code 1 and a message', async () => {
  const { child, output } = await startWorker();
  const [wrangler] = await findProcesses(/bin\/wrangler\.js/);
  process.kill(wrangler!, 'SIGKILL');
  assert.equal(await waitForExit(child), 1, output());
  assert.match(output(), /wrangler dev exited unexpectedly \(SIGKILL\)/);
  assert.deepEqual(await findProcesses(/./), []);
});

test('kill -9 also ends the Worker', async () => {
  const { child } = await startWorker();
  child.kill('SIGKILL');
  await waitForExit(child);
  // Postgres survives kill -9, and the next start connects to it.
  await waitUntil(async () => (await findProcesses(/wrangler|workerd|cli\.ts/)).length === 0, 15_000);
});
