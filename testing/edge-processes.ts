// Attune on several machines, for tests: one Postgres, one policy store, and one `attune serve` process per start(). After
// the test all processes are stopped, or killed after a timeout.

import { type ChildProcess, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openContext } from '../cli/context.ts';
import { type Connection, connect } from '../shared/database/connect.ts';
import type { PrecisionName } from '../shared/precision-name.ts';
import { importPolicy } from '../shared/publish/publish.ts';
import { type LocalStore, openLocalStore } from '../shared/store/local-store.ts';
import { makePostgresHome } from './postgres-home.ts';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from './tiny-checkpoint.ts';
import { waitUntil } from './wait-until.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
/** The first start also publishes the default policy. */
const START_TIMEOUT_MS = 90_000;
const STOP_TIMEOUT_MS = 8000;

type EdgeProcess = {
  url: string;
  /** stdout and stderr so far. */
  output(): string;
  /** Values of /metrics by name and labels. */
  metrics(): Promise<Map<string, number>>;
  /** SIGKILL, like a machine that fails. */
  kill(): Promise<void>;
};

type EdgeProcesses = {
  /** ATTUNE_HOME of every process. */
  home: string;
  connection: Connection;
  localStore: LocalStore;
  importTiny(options: TinyCheckpointOptions & { precision?: PrecisionName }): Promise<string>;
  start(env?: Record<string, string>): Promise<EdgeProcess>;
};

export async function openEdgeProcesses(): Promise<EdgeProcesses> {
  const home = await makePostgresHome('processes');
  const context = await openContext(() => {}, { ATTUNE_HOME: home, PORT: '0' });
  const connection = connect(context.databaseUrl, { name: 'attune test', max: 3 });
  const localStore = await openLocalStore(context.settings, connection.db);
  const children: ChildProcess[] = [];
  after(async () => {
    await Promise.all(children.map((child) => stopChild(child, 'SIGTERM')));
    await connection.close();
    await context.close();
    await rm(home, { recursive: true, force: true });
  });
  return {
    home,
    connection,
    localStore,
    async importTiny({ precision, ...options }) {
      const folder = await localStore.createStaging();
      await writeTinyCheckpoint(folder, options);
      const id = await importPolicy(connection.db, localStore, folder, `tiny ${options.seed}`, { precision });
      await localStore.discardStaging(folder);
      return id;
    },
    async start(env = {}) {
      const child = spawn(process.execPath, [CLI, 'serve'], {
        env: {
          ...process.env,
          DATABASE_URL: context.databaseUrl,
          ATTUNE_HOME: home,
          PORT: '0',
          ...env,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      children.push(child);
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
      const url = await waitUntil(() => {
        if (child.exitCode !== null) throw new Error(`the server exited: ${output}`);
        return /serving at ([^\s"]+)/.exec(output)?.[1];
      }, START_TIMEOUT_MS);
      return { url, output: () => output, metrics: () => scrapeMetrics(url), kill: () => stopChild(child, 'SIGKILL') };
    },
  };
}

async function stopChild(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const timeout = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timeout);
}

async function scrapeMetrics(url: string): Promise<Map<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}
