// Runs policies in a real workerd and on Node's engine, for tests that compare the two.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { R2Bucket } from '@cloudflare/workers-types';
import { createTestHarness, type TestHarness } from 'wrangler';
import type { GenerationEvent, GenerationInput } from '../edge/engine/inference.ts';
import { openInference } from '../edge/engine/policy-pool.ts';
import { readArchitecture } from '../shared/model/checkpoint.ts';
import { hashFiles, writeManifest } from '../shared/package/files.ts';
import type { Manifest } from '../shared/package/manifest.ts';
import type { PrecisionName } from '../shared/precision-name.ts';
import { uploadPackage } from '../shared/store/copy-package.ts';
import { openR2Store } from '../shared/store/r2.ts';
import { Tokenizer } from '../shared/tokenizer/tokenizer.ts';
import { WRANGLER_OFFLINE_ENV } from '../shared/wrangler-env.ts';
import type { Env, GenerateRequest } from './generate-worker.ts';
import { collectChoices, writeTinyPackage } from './policy-package.ts';
import { makeManifest } from './store-package.ts';
import type { TinyCheckpointOptions } from './tiny-checkpoint.ts';

const ROOT = fileURLToPath(new URL('.', import.meta.url));

export type Package = { folder: string; manifest: Manifest };
export type WorkerFixture = {
  bucket: R2Bucket;
  harness: TestHarness;
  send(path: string, request: GenerateRequest): Promise<Response>;
};

type Options = { limits?: Partial<Omit<Env, 'POLICIES'>>; flags?: string[]; alias?: Record<string, string> };

export async function openWorkerFixture({
  limits,
  alias,
  flags = ['enable_request_signal'],
}: Options = {}): Promise<WorkerFixture> {
  Object.assign(process.env, WRANGLER_OFFLINE_ENV);
  const vars: Omit<Env, 'POLICIES'> = {
    DELAY_MS: 0,
    MAX_BYTES: 2 ** 24,
    KV_MEMORY: 2 ** 24,
    MAX_ROWS: 16,
    MAX_QUEUE: 64,
    ...limits,
  };
  const harness = createTestHarness({
    root: ROOT,
    workers: [
      {
        config: {
          name: 'isolate',
          main: join(ROOT, 'generate-worker.ts'),
          compatibility_date: '2026-10-01',
          compatibility_flags: ['nodejs_compat', ...flags],
          r2_buckets: [{ binding: 'POLICIES', bucket_name: 'policies' }],
          rules: [{ type: 'CompiledWasm', globs: ['**/*.wasm'], fallthrough: false }],
          vars,
          ...(alias ? { alias } : {}),
        },
      },
    ],
  });
  after(() => harness.close());
  const { url } = await harness.listen();
  const { POLICIES } = await harness.getWorker<Env>().getEnv();
  return {
    bucket: POLICIES,
    harness,
    send: (path, request) => fetch(new URL(path, url), { method: 'POST', body: JSON.stringify(request) }),
  };
}

/** Writes a random policy's package to a temporary folder. */
export async function createPackage(
  options: TinyCheckpointOptions & { precision?: PrecisionName } = {},
): Promise<Package> {
  const folder = await mkdtemp(join(tmpdir(), 'attune-isolate-'));
  after(() => rm(folder, { recursive: true, force: true }));
  await writeTinyPackage(folder, options);
  return { folder, manifest: await createManifest(folder, options.precision) };
}

/** Writes a manifest for the files of the folder. */
async function createManifest(folder: string, precision: PrecisionName = 'fp32'): Promise<Manifest> {
  const manifest = makeManifest({
    architecture: await readArchitecture(folder),
    tokenizer_hash: (await Tokenizer.open(folder)).hash,
    serving: { precision, accuracy: {} },
    files: await hashFiles(folder),
  });
  await writeManifest(folder, manifest);
  return manifest;
}

export function uploadPolicy({ bucket }: WorkerFixture, { folder }: Package): Promise<void> {
  return uploadPackage(openR2Store(bucket), folder);
}

/** Runs the inputs in workerd; returns the choices of each. */
export async function generateInWorker(worker: WorkerFixture, { manifest }: Package, inputs: GenerationInput[]) {
  const response = await worker.send('/', { manifest, inputs });
  const text = await response.text();
  if (!response.ok) throw new Error(`the Worker responded ${response.status}: ${text}`);
  const events = text.split('\n').filter((line) => line !== '');
  const all = events.map((line) => JSON.parse(line) as GenerationEvent & { stream: number });
  const selectEvents = (at: number) =>
    all.filter(({ stream }) => stream === at).map(({ stream: _, ...event }) => event);
  return Promise.all(inputs.map((_, at) => collectChoices(from(selectEvents(at)))));
}

/** Runs the inputs on Node's engine; returns the choices of each. */
export async function generateOnNode({ folder, manifest }: Package, inputs: GenerationInput[]) {
  const inference = openInference({ getFolder: async () => folder, threads: 1 });
  try {
    const policy = await inference.getPolicy(manifest.id);
    return await Promise.all(inputs.map((input) => collectChoices(policy.generate(input))));
  } finally {
    await inference.close();
  }
}

async function* from<T>(items: T[]): AsyncGenerator<T> {
  yield* items;
}
