// The store's code in workerd, where a Worker reads policies: no module may depend on Node-only APIs.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { R2Bucket } from '@cloudflare/workers-types';
import { createTestHarness } from 'wrangler';
import { makePackage, randomBytes } from '../../testing/store-package.ts';
import { WRANGLER_OFFLINE_ENV } from '../wrangler-env.ts';
import { openR2Store } from './r2.ts';

Object.assign(process.env, WRANGLER_OFFLINE_ENV);

const home = await mkdtemp(path.join(tmpdir(), 'attune-worker-store-'));
after(() => rm(home, { recursive: true }));

test('a Worker reads a package from its bucket and rejects a damaged file', async () => {
  const here = JSON.stringify(fileURLToPath(new URL('.', import.meta.url)).slice(0, -1)).slice(1, -1);
  await writeFile(
    path.join(home, 'worker.ts'),
    `import { openR2Store } from '${here}/r2.ts';
    import { openS3Store } from '${here}/s3.ts';
    import { readFile } from '${here}/store.ts';
    export default {
      async fetch(request, env) {
        const [, id, file] = new URL(request.url).pathname.split('/');
        const store = openR2Store(env.POLICIES);
        const manifest = await store.manifest(id);
        if (!manifest) return new Response('no such policy, ' + typeof openS3Store, { status: 404 });
        return readFile(store, manifest, file).then((bytes) => new Response(bytes), (error) => Response.json(error, { status: error.status }));
      },
    };`,
  );
  const configPath = path.join(home, 'wrangler.json');
  await writeFile(
    configPath,
    JSON.stringify({
      name: 'test',
      main: 'worker.ts',
      compatibility_date: '2026-10-01',
      compatibility_flags: ['nodejs_compat'],
      r2_buckets: [{ binding: 'POLICIES', bucket_name: 'policies' }],
    }),
  );
  const server = createTestHarness({ workers: [{ configPath }] });
  await server.listen();
  after(() => server.close());
  const { POLICIES } = (await server.getWorker().getEnv()) as { POLICIES: R2Bucket };
  const { manifest, open, files } = makePackage({ 'a.bin': randomBytes(9 * 2 ** 20), 'b.txt': randomBytes(10) });
  await openR2Store(POLICIES).write(manifest, open);

  const whole = await server.fetch(`/${manifest.id}/a.bin`);
  assert.equal(whole.status, 200);
  assert.ok(Buffer.from(await whole.arrayBuffer()).equals(files['a.bin']!));
  await POLICIES.put(`${manifest.id}/b.txt`, randomBytes(10).reverse());
  const damaged = await server.fetch(`/${manifest.id}/b.txt`);
  assert.equal(damaged.status, 500);
  assert.match(await damaged.text(), /damaged_policy/);
  assert.equal(await (await server.fetch(`/pol_${'0'.repeat(32)}/a.bin`)).text(), 'no such policy, function');
});
