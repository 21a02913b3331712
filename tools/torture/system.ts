// What the torture runs against: an embedded Postgres with the proxy in front of it, a policy of a few thousand weights,
// and the real API as its own process, all in a temporary folder.

import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, connect } from '../../shared/database/connect.ts';
import { openPostgres } from '../../shared/database/embedded.ts';
import { migrateDatabase } from '../../shared/database/migrate.ts';
import { findFreePort } from '../../shared/free-port.ts';
import { importPolicy } from '../../shared/publish/publish.ts';
import { readSettings } from '../../shared/settings.ts';
import { type LocalStore, openLocalStore } from '../../shared/store/local-store.ts';
import { activatePolicy } from '../../shared/store/registry.ts';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { PostgresProxy } from './postgres-proxy.ts';
import { Supervisor } from './supervisor.ts';

const START_TIMEOUT_MS = 60_000;

export type System = {
  home: string;
  /** The direct way to Postgres, for checks. */
  connection: Connection;
  localStore: LocalStore;
  proxy: PostgresProxy;
  /** Through the proxy. */
  databaseUrl: string;
  url: string;
  api: Supervisor;
  importTiny(seed: number, options?: TinyCheckpointOptions): Promise<string>;
  /** A program of this repository on this system's Postgres and policies; stopped with the system. */
  supervise(name: string, args: string[], env: () => Record<string, string>): Supervisor;
  /** SIGKILL of the postmaster, as the kernel does when memory runs out. */
  killPostgres(): Promise<void>;
  close(): Promise<void>;
};

export type SystemOptions = {
  /** Settings of the API. */
  env?: Record<string, string>;
  checkpoint?: TinyCheckpointOptions;
  /** Where the folder is; default: the system's folder for temporary files. */
  parent?: string;
};

export async function openSystem({ env = {}, checkpoint, parent = tmpdir() }: SystemOptions = {}): Promise<System> {
  const home = await mkdtemp(path.join(parent, 'attune-torture-'));
  // Postgres does not run as root and must be able to enter it.
  await chmod(home, 0o755);
  const postgres = await openPostgres(home);
  await migrateDatabase(postgres.url);
  const connection = connect(postgres.url, { name: 'attune torture', max: 4 });
  const localStore = await openLocalStore(readSettings({ ATTUNE_HOME: home }), connection.db);
  const importTiny = async (seed: number, options: TinyCheckpointOptions = {}) => {
    const folder = await localStore.createStaging();
    await writeTinyCheckpoint(folder, { ...options, seed });
    const id = await importPolicy(connection.db, localStore, folder, `tiny ${seed}`);
    await localStore.discardStaging(folder);
    return id;
  };
  await activatePolicy(connection.db, await importTiny(1, checkpoint), 'torture');
  const proxy = new PostgresProxy(new URL(postgres.url));
  const proxied = new URL(postgres.url);
  proxied.port = String(await proxy.listen());
  // Elsewhere, because the folder's disk may be full.
  const logs = await mkdtemp(path.join(tmpdir(), 'attune-torture-logs-'));
  const supervisors: Supervisor[] = [];
  const supervise = (name: string, args: string[], programEnv: () => Record<string, string>) => {
    const supervisor = new Supervisor(
      args,
      () => ({ DATABASE_URL: proxied.href, ATTUNE_HOME: home, ...programEnv() }),
      path.join(logs, `${name}.log`),
    );
    supervisors.push(supervisor);
    supervisor.start();
    return supervisor;
  };
  const port = await findFreePort();
  const url = `http://127.0.0.1:${port}`;
  const api = supervise('api', ['serve'], () => ({ PORT: String(port), ...env }));
  const system: System = {
    home,
    connection,
    localStore,
    proxy,
    databaseUrl: proxied.href,
    url,
    api,
    importTiny,
    supervise,
    async killPostgres() {
      const pidFile = await readFile(path.join(home, 'postgres/data/postmaster.pid'), 'utf8');
      process.kill(Number(pidFile.split('\n')[0]), 'SIGKILL');
    },
    async close() {
      await Promise.all(supervisors.map((supervisor) => supervisor.stop()));
      await connection.close();
      await proxy.close();
      await postgres.leave();
      for (const folder of [home, logs]) await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    await waitUntilHealthy(system.url, START_TIMEOUT_MS);
  } catch (error) {
    const log = await readFile(path.join(logs, 'api.log'), 'utf8').catch(() => '');
    await system.close();
    throw new Error(`the API did not start: ${(error as Error).message}\n${log.slice(-2000)}`);
  }
  return system;
}

/** Milliseconds until /health says 200. Throws after the timeout. */
export async function waitUntilHealthy(url: string, timeoutMs: number): Promise<number> {
  const startMs = performance.now();
  while (performance.now() - startMs < timeoutMs) {
    const isHealthy = await fetch(`${url}/health`, { signal: AbortSignal.timeout(2000) }).then(
      async (response) => {
        await response.arrayBuffer();
        return response.ok;
      },
      () => false,
    );
    if (isHealthy) return performance.now() - startMs;
    await sleep(50);
  }
  throw new Error(`/health did not say 200 within ${timeoutMs / 1000} s`);
}
