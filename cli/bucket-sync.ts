// Copies this machine's policies to the local R2 bucket of `wrangler dev` while both run. A policy that the Worker supports
// is copied within a second of its row in Postgres; others are not copied. This is a separate process because wrangler's
// platform proxy exits its process at the first signal.

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { R2Bucket } from '@cloudflare/workers-types';
import { asc, eq } from 'drizzle-orm';
import { LocalPolicies } from '../edge/cloudflare/local-policies.ts';
import { CHANGES } from '../shared/database/channels.ts';
import { type Connection, connect } from '../shared/database/connect.ts';
import { policies } from '../shared/database/schema.ts';
import { subscribe } from '../shared/database/subscribe.ts';
import { log } from '../shared/log.ts';
import { manifestSchema } from '../shared/package/manifest.ts';
import { isUnreachable } from '../shared/postgres-errors.ts';
import { runProgram } from '../shared/process.ts';
import { readSettings, type Settings } from '../shared/settings.ts';
import { uploadPackage } from '../shared/store/copy-package.ts';
import { type LocalStore, openLocalStore } from '../shared/store/local-store.ts';
import { openR2Store } from '../shared/store/r2.ts';
import { getActivePolicyId } from '../shared/store/registry.ts';
import type { PolicyStore } from '../shared/store/store.ts';
import { WRANGLER_OFFLINE_ENV } from '../shared/wrangler-env.ts';
import { type ChildProgram, startChildProgram } from './child-program.ts';
import { WRANGLER_CONFIG } from './wrangler.ts';

const POLL_INTERVAL_MS = 1000;
const SYNCED = 'synced';

/** Resolves when the current policies are copied; `state` is wrangler's folder of local state. */
export function startBucketSync(state: string, databaseUrl: string, env: NodeJS.ProcessEnv): Promise<ChildProgram> {
  return startChildProgram({
    name: 'bucket sync',
    args: [fileURLToPath(import.meta.url), state],
    env: { ...env, ...WRANGLER_OFFLINE_ENV, DATABASE_URL: databaseUrl },
    isReady: (message) => message === SYNCED,
  });
}

async function syncBucket(state: string): Promise<void> {
  const settings = readSettings(process.env);
  const connection = connect(settings.DATABASE_URL!, { name: 'attune dev-worker', max: 3 });
  const localStore = await openLocalStore(settings, connection.db);
  const store = openR2Store(await openBucket(state));
  const copy = createCopier(connection, localStore, store, openWorkerPolicies(store, settings));
  const options = { name: 'policies', pollIntervalMs: POLL_INTERVAL_MS };
  const subscription = await subscribe(connection, CHANGES, options, copy);
  await subscription.firstRun;
  process.send?.(SYNCED);
}

/** Each call copies the policies that are new since the last one. */
function createCopier(
  { db }: Connection,
  localStore: LocalStore,
  store: PolicyStore,
  worker: Pick<LocalPolicies, 'findUnsupportedReason'>,
): () => Promise<void> {
  const done = new Set<string>();
  const failed = new Set<string>();
  const copy = async (id: string) => {
    const [row] = await db.select({ manifest: policies.manifest }).from(policies).where(eq(policies.id, id));
    if (worker.findUnsupportedReason(manifestSchema.parse(row?.manifest)) === null && !(await store.manifest(id)))
      await uploadPackage(store, await localStore.getFolder(id));
    done.add(id);
  };
  return async () => {
    const [active, rows] = await Promise.all([
      getActivePolicyId(db),
      db.select({ id: policies.id }).from(policies).orderBy(asc(policies.id)),
    ]);
    // The active policy first, since requests use it.
    for (const id of new Set([...(active ? [active] : []), ...rows.map(({ id }) => id)])) {
      if (done.has(id)) continue;
      try {
        await copy(id);
      } catch (error) {
        if (isUnreachable(error)) throw error;
        if (!failed.has(id)) log.error('policy', `copying ${id} to the Worker's bucket failed`, error);
        failed.add(id);
      }
    }
  };
}

/** The Worker's own rules for which policies it supports; no policy is loaded. */
function openWorkerPolicies(store: PolicyStore, settings: Settings): LocalPolicies {
  const { WORKER_POLICY_BYTES: maxBytes, KV_MEMORY: kvMemoryBytes, MAX_ROWS: maxRows, MAX_QUEUE: maxQueue } = settings;
  return new LocalPolicies({ store, maxBytes, kvMemoryBytes, maxRows, maxQueue });
}

/** Only the bucket: a proxy of the whole configuration would start its Durable Objects and queues a second time. */
async function openBucket(state: string): Promise<R2Bucket> {
  const { getPlatformProxy, unstable_readConfig } = await import('wrangler');
  const { name, compatibility_date, r2_buckets } = unstable_readConfig({ config: WRANGLER_CONFIG });
  const configPath = path.join(state, 'bucket.json');
  await mkdir(state, { recursive: true });
  await writeFile(configPath, JSON.stringify({ name, compatibility_date, r2_buckets }));
  const { env } = await getPlatformProxy<{ POLICIES: R2Bucket }>({
    configPath,
    persist: { path: path.join(state, 'v3') },
    remoteBindings: false,
    envFiles: [],
  });
  return env.POLICIES;
}

if (import.meta.main) await runProgram(() => syncBucket(process.argv[2]!));
