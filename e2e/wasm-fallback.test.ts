// A Worker whose WebAssembly runtime does not start: the container serves the policy from the first request on.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Json, startEdgeServer } from '../testing/edge-server.ts';
import { startWorkerServer } from '../testing/worker-server.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const server = await startEdgeServer({ PRECISION: 'fp32' });

/** wrangler.toml with a stub container and a broken WebAssembly runtime. */
async function writeConfig(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-wasm-'));
  after(() => rm(folder, { recursive: true, force: true }));
  const text = (await readFile(path.join(ROOT, 'wrangler.toml'), 'utf8'))
    .replace('"edge/worker.ts"', JSON.stringify(path.join(ROOT, 'e2e/stub-container-worker.ts')))
    .replace('"pages/dist"', JSON.stringify(path.join(ROOT, 'pages/dist')))
    .replace('"./edge/Dockerfile"', JSON.stringify(path.join(ROOT, 'edge/Dockerfile')))
    .replace('image_build_context = "."', `image_build_context = ${JSON.stringify(ROOT)}`);
  const broken = JSON.stringify(path.join(ROOT, 'testing/broken-onnxruntime.ts'));
  const file = path.join(folder, 'wrangler.toml');
  await writeFile(file, `${text}\n[alias]\n"onnxruntime-web/wasm" = ${broken}\n`);
  return file;
}

test('when WebAssembly does not start the container serves, and headers and /health have the reason', async () => {
  const worker = await startWorkerServer(
    server.databaseUrl,
    {
      UPSTREAM: server.edge.url,
      DATABASE_URL: server.databaseUrl,
      API_KEY: 'sk-forward-test',
      POLICY_STORE: 's3://policies',
      AWS_ENDPOINT_URL: 'https://s3.example',
      AWS_ACCESS_KEY_ID: 'id',
      AWS_SECRET_ACCESS_KEY: 'secret',
    },
    await writeConfig(),
  );
  await worker.uploadPolicy(await server.localStore.getFolder(server.policyId));
  const getPlacement = async () => ((await (await fetch(`${worker.url}/health`)).json()) as Json).compute.place;
  assert.equal(await getPlacement(), 'worker');
  for (const stream of [false, true]) {
    const response = await fetch(`${worker.url}/v1/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer sk-forward-test' },
      body: JSON.stringify({ prompt: 'x', max_tokens: 2, stream }),
    });
    assert.equal(response.status, 200, await response.clone().text());
    assert.equal(response.headers.get('x-attune-compute'), 'container');
    assert.match(
      response.headers.get('x-attune-compute-reason')!,
      /WebAssembly did not start in this Worker: it is broken/,
    );
    const text = await response.text();
    if (stream) assert.match(text, /data: \[DONE\]\n\n$/);
    else assert.equal(JSON.parse(text).model, server.policyId);
  }
  assert.equal(await getPlacement(), 'container');
});
