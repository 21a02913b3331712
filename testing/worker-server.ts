// edge/worker.ts in a real workerd, for a test: bound to the stage's Postgres as Hyperdrive binds it, with policies in a
// local R2, queues and rate limits as wrangler.toml says. It goes away with the test.

import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { R2Bucket } from '@cloudflare/workers-types';
import { createTestHarness, type WorkerHandle } from 'wrangler';
import { uploadPackage } from '../shared/store/copy-package.ts';
import { openR2Store } from '../shared/store/r2.ts';
import { WRANGLER_OFFLINE_ENV } from '../shared/wrangler-env.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const HYPERDRIVE = 'CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE';

export type WorkerStage = {
  url: string;
  worker: WorkerHandle<Record<string, unknown>>;
  bucket: R2Bucket;
  /** Puts a policy's package where the Worker finds it. */
  sendPolicy(folder: string): Promise<void>;
  logs(): string;
  close(): Promise<void>;
};

export async function openWorker(
  databaseUrl: string,
  vars: Record<string, string> = {},
  configPath = 'wrangler.toml',
): Promise<WorkerStage> {
  Object.assign(process.env, WRANGLER_OFFLINE_ENV, { [HYPERDRIVE]: databaseUrl });
  const server = createTestHarness({
    root: ROOT,
    workers: [{ configPath, vars: { LOOPBACK: 'true', ...vars } }],
  });
  const { url } = await server.listen();
  const worker = server.getWorker<Record<string, unknown>>();
  const { POLICIES } = (await worker.getEnv()) as { POLICIES: R2Bucket };
  const close = () => server.close();
  after(close);
  return {
    url: url.origin,
    worker,
    bucket: POLICIES,
    sendPolicy: (folder) => uploadPackage(openR2Store(POLICIES), folder),
    logs: () =>
      server
        .getLogs()
        .map(({ message }) => message)
        .join('\n'),
    close,
  };
}
