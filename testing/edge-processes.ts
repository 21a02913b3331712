// Attune as it runs on many machines, for a test: one Postgres, one policy store, and `attune serve` in as many processes
// as the test launches. Everything goes away with the test, killed where it does not stop.

import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openContext } from '../cli/context.ts';
import { type Connection, connect } from '../shared/database/connect.ts';
import { importPolicy } from '../shared/publish/publish.ts';
import { type LocalStore, openLocalStore } from '../shared/store/local-store.ts';
import { type TinyOptions, writeTinyCheckpoint } from './tiny-checkpoint.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));

export type Server = {
  url: string;
  /** What it printed so far. */
  said(): string;
  /** The numbers of its /metrics, by name and labels. */
  metrics(): Promise<Map<string, number>>;
  /** As a machine that fails. */
  kill(): Promise<void>;
};

export type Fleet = {
  connection: Connection;
  shelf: LocalStore;
  importTiny(options: TinyOptions): Promise<string>;
  launch(env?: Record<string, string>): Promise<Server>;
};

export async function openFleet(): Promise<Fleet> {
  const home = await mkdtemp(path.join(tmpdir(), 'attune-fleet-'));
  await chmod(home, 0o755);
  const room = await openContext(() => {}, { ATTUNE_HOME: home, PORT: '0' });
  const connection = connect(room.databaseUrl, { name: 'attune test', max: 3 });
  const shelf = await openLocalStore(room.settings);
  const children: ChildProcess[] = [];
  after(async () => {
    await Promise.all(children.map((child) => end(child, 'SIGTERM')));
    await connection.close();
    await room.close();
    await rm(home, { recursive: true, force: true });
  });
  return {
    connection,
    shelf,
    async importTiny(options) {
      const folder = await shelf.createStaging();
      await writeTinyCheckpoint(folder, options);
      const id = await importPolicy(connection.db, shelf, folder, `tiny ${options.seed}`);
      await shelf.discard(folder);
      return id;
    },
    async launch(env = {}) {
      const child = spawn(process.execPath, [CLI, 'serve'], {
        env: {
          ...process.env,
          DATABASE_URL: room.databaseUrl,
          ATTUNE_HOME: home,
          PORT: '0',
          ...env,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      children.push(child);
      let said = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (said += chunk));
      const url = await until(30_000, () => {
        if (child.exitCode !== null) throw new Error(`the server ended: ${said}`);
        return /serving at (\S+)/.exec(said)?.[1];
      });
      return { url, said: () => said, metrics: () => readMetrics(url), kill: () => end(child, 'SIGKILL') };
    },
  };
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  const impatience = setTimeout(() => child.kill('SIGKILL'), 8000);
  await ended;
  clearTimeout(impatience);
}

async function readMetrics(url: string): Promise<Map<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

/** What `look` gives as soon as it gives something; throws when that takes longer than it may. */
export async function until<T>(
  milliseconds: number,
  look: () => T | Promise<T>,
): Promise<NonNullable<Exclude<T, false>>> {
  const began = performance.now();
  while (performance.now() - began < milliseconds) {
    const seen = await look();
    if (seen) return seen as NonNullable<Exclude<T, false>>;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`it did not come within ${milliseconds} ms`);
}
