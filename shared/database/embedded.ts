// The embedded Postgres: the real server out of an npm package, its data in a folder, on a free port of the loopback.
// Processes on the same folder share one server: the first starts it, later ones join, the last one out stops it,
// and one left behind by a killed process is joined by the next. It never runs as root, which Postgres refuses.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, mkdtemp, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { AttuneError } from '../error.ts';
import { isProcessAlive } from '../process.ts';
import { type PostgresFiles, preparePostgresFiles } from './postgres-files.ts';

export type EmbeddedPostgres = {
  url: string;
  /** Stops the server unless another process still uses it. Call it after closing every own connection. */
  leave(): Promise<void>;
};

const TRIES = 3;

/** Starts or joins the Postgres of this folder. Takes about 2 s the first time, 0.1 s later. */
export async function openPostgres(home: string): Promise<EmbeddedPostgres> {
  const premises = await preparePostgresFiles(path.resolve(home));
  await initialise(premises);
  const password = (await readFile(premises.passwordFile, 'utf8')).trim();
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const port = await runningPort(premises, password);
    if (port) return { url: urlOf(port, password), leave: () => stopIfAlone(premises, urlOf(port, password)) };
    const server = await startServer(premises, password, await freePort());
    if (server) return server;
    // Another process won the race for postmaster.pid; join its server.
  }
  const log = await tailOf(premises.logFile);
  throw new AttuneError(`postgres: the embedded server does not start; its log ends with: ${log}`, { status: 503 });
}

const urlOf = (port: number, password: string) => `postgres://attune:${password}@127.0.0.1:${port}/postgres`;

/** initdb into a folder of its own, then one rename: a killed first start leaves nothing half-made. */
async function initialise(premises: PostgresFiles): Promise<void> {
  if (existsSync(path.join(premises.data, 'PG_VERSION'))) return;
  if (!existsSync(premises.passwordFile)) {
    const file = await open(premises.passwordFile, 'wx', 0o600).catch(() => null);
    await file?.writeFile(`${randomBytes(18).toString('hex')}\n`);
    await file?.close();
  }
  const draft = await mkdtemp(path.join(premises.folder, 'initdb-'));
  const pwfile = path.join(draft, 'password');
  await writeFile(pwfile, await readFile(premises.passwordFile), { mode: 0o600 });
  if (premises.uid !== undefined) for (const item of [draft, pwfile]) await chown(item, premises.uid, premises.uid);
  const data = path.join(draft, 'data');
  const child = spawn(
    premises.initdb,
    ['-D', data, '-U', 'attune', '-E', 'UTF8', '--locale=C.UTF-8', '--auth=scram-sha-256', `--pwfile=${pwfile}`],
    { uid: premises.uid, gid: premises.uid, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let said = '';
  child.stdout!.on('data', (chunk) => (said += chunk));
  child.stderr!.on('data', (chunk) => (said += chunk));
  const code = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject));
  if (code !== 0) throw new AttuneError(`postgres: initdb failed: ${said.trim().slice(-400)}`, { status: 503 });
  await rename(data, premises.data).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  });
  await rm(draft, { recursive: true, force: true });
}

/** The port of a server that already runs on this folder and answers, or null. */
async function runningPort(premises: PostgresFiles, password: string): Promise<number | null> {
  for (let waited = 0; waited < 100; waited++) {
    const lines = await readFile(path.join(premises.data, 'postmaster.pid'), 'utf8').then(
      (text) => text.split('\n'),
      () => null,
    );
    if (!lines || !isProcessAlive(Number(lines[0]))) return null;
    const port = Number(lines[3]);
    if (port && (await answers(urlOf(port, password)))) return port;
    await sleep(100);
  }
  return null;
}

/** Starts the server and keeps it up until left; null where another process was faster. */
async function startServer(premises: PostgresFiles, password: string, port: number): Promise<EmbeddedPostgres | null> {
  const url = urlOf(port, password);
  let leaving = false;
  let child: ChildProcess;
  const launch = async (): Promise<boolean> => {
    const log = await open(premises.logFile, 'a');
    child = spawn(
      premises.postgres,
      ['-D', premises.data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
      // A process group of its own: Ctrl-C must reach us first, so that we can finish writing before it stops.
      { uid: premises.uid, gid: premises.uid, cwd: '/', detached: true, stdio: ['ignore', log.fd, log.fd] },
    );
    let exited = false;
    child.on('error', () => (exited = true)).on('exit', () => (exited = true));
    child.unref();
    await log.close();
    while (!exited) {
      if (await answers(url)) return true;
      await sleep(50);
    }
    return false;
  };
  if (!(await launch())) return null;
  // A server that dies under us (killed, out of memory) comes back on the same port; the pool reconnects to it.
  const revive = async (): Promise<void> => {
    while (!leaving) {
      if (child.exitCode === null && child.signalCode === null)
        await new Promise((resolve) => child.once('exit', resolve));
      await sleep(300, undefined, { ref: false });
      if (!leaving && !(await runningPort(premises, password))) await launch();
    }
  };
  void revive();
  return {
    url,
    leave: async () => {
      leaving = true;
      await stopIfAlone(premises, url);
    },
  };
}

async function answers(url: string): Promise<boolean> {
  const sql = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => {} });
  try {
    await sql`select 1`;
    return true;
  } catch {
    return false;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function stopIfAlone(premises: PostgresFiles, url: string): Promise<void> {
  const sql = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => {} });
  try {
    const others = await sql`
      select 1 from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1`;
    if (others.length > 0) return;
  } catch {
    return;
  } finally {
    await sql.end({ timeout: 1 });
  }
  const pid = Number(
    (await readFile(path.join(premises.data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')[0],
  );
  if (!isProcessAlive(pid)) return;
  process.kill(pid, 'SIGINT');
  for (let waited = 0; waited < 200 && isProcessAlive(pid); waited++) await sleep(50);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject).listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

async function tailOf(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '(no log)');
  return text.trim().split('\n').slice(-3).join(' | ');
}
