// edge/worker.ts in workerd for tests: a Hyperdrive binding to the given Postgres, a local R2 bucket, and the queues and
// rate limits of wrangler.toml. Stopped after the test.

import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { R2Bucket } from '@cloudflare/workers-types';
import { createTestHarness, type WorkerHandle } from 'wrangler';
import { uploadPackage } from '../shared/store/copy-package.ts';
import { openR2Store } from '../shared/store/r2.ts';
import { WRANGLER_OFFLINE_ENV } from '../shared/wrangler-env.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const HYPERDRIVE = 'CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE';

export type WorkerServer = {
  url: string;
  worker: WorkerHandle<Record<string, unknown>>;
  bucket: R2Bucket;
  /** Uploads a policy package to the Worker's bucket. */
  uploadPolicy(folder: string): Promise<void>;
  logs(): string;
  close(): Promise<void>;
};

export async function startWorkerServer(
  databaseUrl: string,
  vars: Record<string, string> = {},
  configPath = 'wrangler.toml',
): Promise<WorkerServer> {
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
    uploadPolicy: (folder) => uploadPackage(openR2Store(POLICIES), folder),
    logs: () =>
      server
        .getLogs()
        .map(({ message }) => message)
        .join('\n'),
    close,
  };
}
