// A whole Attune for a test: a real embedded Postgres in a temporary folder, a tiny random policy, the API on a free
// port. Everything goes away with the test.

import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { type Edge, startEdge } from '../edge/node.ts';
import { type Connection, connect } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import { migrateDatabase } from '../shared/database/migrate.ts';
import { importPolicy } from '../shared/publish/publish.ts';
import { readSettings, type Settings } from '../shared/settings.ts';
import { type LocalStore, openLocalStore } from '../shared/store/local-store.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { type TinyOptions, writeTinyCheckpoint } from './tiny-checkpoint.ts';

export type Stage = {
  home: string;
  settings: Settings;
  databaseUrl: string;
  connection: Connection;
  shelf: LocalStore;
  policyId: string;
  edge: Edge;
  /** Imports another tiny policy, with other random weights. */
  importTiny(seed: number, options?: TinyOptions): Promise<string>;
  request(
    path: string,
    init?: RequestInit & { json?: unknown },
  ): Promise<{ status: number; headers: Headers; body: Json }>;
};

// biome-ignore lint/suspicious/noExplicitAny: what an answer holds is what the tests are about
export type Json = any;
export type { TinyOptions };

/** `isActive: false` leaves it to the test to make the policy active. */
export async function setStage(env: Record<string, string> = {}, { isActive = true } = {}): Promise<Stage> {
  const home = await mkdtemp(path.join(tmpdir(), 'attune-e2e-'));
  await chmod(home, 0o755);
  const settings = readSettings({ ATTUNE_HOME: home, PORT: '0', ...env });
  const server = await openPostgres(home);
  await migrateDatabase(server.url);
  const connection = connect(server.url, { name: 'attune test', max: 3 });
  const shelf = await openLocalStore(settings);
  const importTiny = async (seed: number, options?: TinyOptions) => {
    const folder = await shelf.createStaging();
    await writeTinyCheckpoint(folder, { ...options, seed });
    const id = await importPolicy(connection.db, shelf, folder, `tiny ${seed}`, { precision: settings.PRECISION });
    await shelf.discard(folder);
    return id;
  };
  const policyId = await importTiny(1);
  if (isActive) await activatePolicy(connection.db, policyId, 'test');
  const edge = await startEdge(settings, server.url);
  after(async () => {
    await edge.close();
    await connection.close();
    await server.leave();
    await rm(home, { recursive: true, force: true });
  });
  return {
    home,
    settings,
    databaseUrl: server.url,
    connection,
    shelf,
    policyId,
    edge,
    importTiny,
    async request(target, { json, ...init } = {}) {
      const response = await fetch(edge.url + target, {
        ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
        ...init,
        headers: { 'content-type': 'application/json', ...init.headers },
      });
      const text = await response.text();
      const isJson =
        response.headers.get('content-type')?.includes('json') &&
        !response.headers.get('content-type')?.includes('jsonl');
      return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
    },
  };
}
