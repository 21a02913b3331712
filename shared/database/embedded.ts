// The embedded Postgres: the server from an npm package, its data in a folder, on a free loopback port. Processes with the
// same folder share one server: the first starts it, the last one stops it, and one that a killed process left running
// is joined by the next.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, mkdtemp, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { AttuneError } from '../error.ts';
import { findFreePort } from '../free-port.ts';
import { isProcessAlive } from '../process.ts';
import { type PostgresFiles, preparePostgresFiles } from './postgres-files.ts';

export type EmbeddedPostgres = {
  url: string;
  /** Stops the server unless another process uses it. Close all connections first. */
  leave(): Promise<void>;
};

const MAX_START_ATTEMPTS = 3;

/** Without fetch_types, a query on each new connection: if the server dies during it, this process ends (connect.ts). */
const PROBE_OPTIONS = { max: 1, connect_timeout: 2, fetch_types: false, onnotice: () => {} };

/** Starts or joins the server of this folder. Takes about 2 s the first time, 0.1 s later. */
export async function openPostgres(home: string): Promise<EmbeddedPostgres> {
  const files = await preparePostgresFiles(path.resolve(home));
  await initializeDataFolder(files);
  const password = (await readFile(files.passwordFile, 'utf8')).trim();
  for (let attempt = 0; attempt < MAX_START_ATTEMPTS; attempt++) {
    const port = await findRunningPort(files, password);
    if (port) return { url: toUrl(port, password), leave: () => stopIfAlone(files, toUrl(port, password)) };
    const server = await startServer(files, password, await findFreePort());
    if (server) return server;
    // Another process was faster to create postmaster.pid; join its server.
  }
  const log = await readLogTail(files.logFile);
  throw new AttuneError(`postgres: the embedded server does not start; its log ends with: ${log}`, { status: 503 });
}

const toUrl = (port: number, password: string) => `postgres://attune:${password}@127.0.0.1:${port}/postgres`;

/** Runs initdb in a staging folder and renames it, so that a killed first start leaves no partial data folder. */
async function initializeDataFolder(files: PostgresFiles): Promise<void> {
  if (existsSync(path.join(files.data, 'PG_VERSION'))) return;
  if (!existsSync(files.passwordFile)) {
    const file = await open(files.passwordFile, 'wx', 0o600).catch(() => null);
    await file?.writeFile(`${randomBytes(18).toString('hex')}\n`);
    await file?.close();
  }
  const staging = await mkdtemp(path.join(files.folder, 'initdb-'));
  const pwfile = path.join(staging, 'password');
  await writeFile(pwfile, await readFile(files.passwordFile), { mode: 0o600 });
  if (files.uid !== undefined) for (const item of [staging, pwfile]) await chown(item, files.uid, files.uid);
  const data = path.join(staging, 'data');
  const child = spawn(
    files.initdb,
    ['-D', data, '-U', 'attune', '-E', 'UTF8', '--locale=C.UTF-8', '--auth=scram-sha-256', `--pwfile=${pwfile}`],
    { uid: files.uid, gid: files.uid, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  child.stdout!.on('data', (chunk) => (output += chunk));
  child.stderr!.on('data', (chunk) => (output += chunk));
  const code = await new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject));
  if (code !== 0) throw new AttuneError(`postgres: initdb failed: ${output.trim().slice(-400)}`, { status: 503 });
  await rename(data, files.data).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
  });
  await rm(staging, { recursive: true, force: true });
}

/** The port of a server that runs on this folder and accepts connections, or null. */
async function findRunningPort(files: PostgresFiles, password: string): Promise<number | null> {
  for (let waited = 0; waited < 100; waited++) {
    const lines = await readFile(path.join(files.data, 'postmaster.pid'), 'utf8').then(
      (text) => text.split('\n'),
      () => null,
    );
    if (!lines || !isProcessAlive(Number(lines[0]))) return null;
    const port = Number(lines[3]);
    if (port && (await isReachable(toUrl(port, password)))) return port;
    await sleep(100);
  }
  return null;
}

/** Starts the server and restarts it if it dies; null if another process started one first. */
async function startServer(files: PostgresFiles, password: string, port: number): Promise<EmbeddedPostgres | null> {
  const url = toUrl(port, password);
  let isLeaving = false;
  let child: ChildProcess;
  const launch = async (): Promise<boolean> => {
    const log = await open(files.logFile, 'a');
    child = spawn(
      files.postgres,
      ['-D', files.data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
      // Its own process group, so that Ctrl-C stops this process first, which can then finish writing.
      { uid: files.uid, gid: files.uid, cwd: '/', detached: true, stdio: ['ignore', log.fd, log.fd] },
    );
    let hasExited = false;
    child.on('error', () => (hasExited = true)).on('exit', () => (hasExited = true));
    child.unref();
    await log.close();
    while (!hasExited) {
      if (await isReachable(url)) return true;
      await sleep(50);
    }
    return false;
  };
  if (!(await launch())) return null;
  // If the server dies (killed, out of memory) it is restarted on the same port, and the pool reconnects.
  const restartWhenDead = async (): Promise<void> => {
    while (!isLeaving) {
      if (child.exitCode === null && child.signalCode === null)
        await new Promise((resolve) => child.once('exit', resolve));
      await sleep(300, undefined, { ref: false });
      if (!isLeaving && !(await findRunningPort(files, password))) await launch();
    }
  };
  void restartWhenDead();
  return {
    url,
    leave: async () => {
      isLeaving = true;
      await stopIfAlone(files, url);
    },
  };
}

async function isReachable(url: string): Promise<boolean> {
  const sql = postgres(url, PROBE_OPTIONS);
  try {
    await sql`select 1`;
    return true;
  } catch {
    return false;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

async function stopIfAlone(files: PostgresFiles, url: string): Promise<void> {
  const sql = postgres(url, PROBE_OPTIONS);
  try {
    const others = await sql`
      select 1 from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1`;
    if (others.length > 0) return;
  } catch {
    return;
  } finally {
    await sql.end({ timeout: 1 });
  }
  const pid = Number((await readFile(path.join(files.data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n')[0]);
  if (!isProcessAlive(pid)) return;
  process.kill(pid, 'SIGINT');
  for (let waited = 0; waited < 200 && isProcessAlive(pid); waited++) await sleep(50);
}

async function readLogTail(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '(no log)');
  return text.trim().split('\n').slice(-3).join(' | ');
}
