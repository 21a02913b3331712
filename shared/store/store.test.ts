// What every binding of the policy store promises, asked of each: a folder, R2 as workerd has it, and a real S3 server.
import assert from 'node:assert/strict';
import { mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import type { R2Bucket } from '@cloudflare/workers-types';
import { getPlatformProxy } from 'wrangler';
import { startS3Server } from '../../testing/s3-server.ts';
import { makePackage, randomBytes, streamOf } from '../../testing/store-package.ts';
import { newId } from '../id.ts';
import { WRANGLER_OFFLINE_ENV } from '../wrangler.ts';
import { openFolderStore } from './folder.ts';
import { fetchByNodeHttp } from './node-http.ts';
import { openR2Store } from './r2.ts';
import { openS3Store } from './s3.ts';
import { openFile, type PolicyStore, readFile } from './store.ts';

Object.assign(process.env, WRANGLER_OFFLINE_ENV);

type Binding = {
  store: PolicyStore /** Changes one byte of what is stored. */;
  damage(id: string, file: string): Promise<void>;
};

const home = await mkdtemp(path.join(tmpdir(), 'attune-store-'));
after(() => rm(home, { recursive: true }));

async function bindFolder(): Promise<Binding> {
  const root = path.join(home, 'packages');
  return { store: await openFolderStore(root), damage: (id, file) => flipByte(path.join(root, id, file)) };
}

async function bindR2(): Promise<Binding> {
  const configPath = path.join(home, 'wrangler.json');
  const r2_buckets = [{ binding: 'POLICIES', bucket_name: 'policies' }];
  await writeFile(configPath, JSON.stringify({ name: 'test', compatibility_date: '2026-10-01', r2_buckets }));
  const { env, dispose } = await getPlatformProxy<{ POLICIES: R2Bucket }>({ configPath, persist: false });
  after(dispose);
  return {
    store: openR2Store(env.POLICIES, 'attune/'),
    async damage(id, file) {
      const key = `attune/${id}/${file}`;
      const object = (await env.POLICIES.get(key))!;
      const bytes = new Uint8Array(await object.arrayBuffer());
      bytes[5]! ^= 1;
      await env.POLICIES.put(key, bytes, { customMetadata: object.customMetadata });
    },
  };
}

async function bindS3(): Promise<Binding | string> {
  const server = await startS3Server();
  if ('missing' in server) return server.missing;
  after(server.close);
  return {
    store: openS3Store({ ...server.location, prefix: 'attune/policies' }, fetchByNodeHttp),
    damage: (id, file) => flipByte(path.join(server.folder, 'attune', 'policies', id, file)),
  };
}

async function flipByte(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, 5);
  byte[0]! ^= 1;
  await handle.write(byte, 0, 1, 5);
  await handle.close();
}

const big = randomBytes(2 * 8 * 2 ** 20 + 12_345);
const files = {
  'config.json': new TextEncoder().encode('{"a": 1}'),
  'empty.txt': new Uint8Array(0),
  'a name+with &odd; (ä) %41 signs.txt': randomBytes(100),
  'onnx/one-part.bin': randomBytes(8 * 2 ** 20),
  'onnx/model.onnx_data': big,
};

for (const [name, bind] of Object.entries({ folder: bindFolder, R2: bindR2, S3: bindS3 })) {
  describe(`the policy store in ${name}`, async () => {
    const binding = await bind();
    if (typeof binding === 'string') {
      test('needs a tool', { skip: binding });
      return;
    }
    const { store, damage } = binding;

    test('what was written is read back, whatever its size and name', async () => {
      const { manifest, open } = makePackage(files);
      await store.write(manifest, open);
      assert.deepEqual(await store.manifest(manifest.id), manifest);
      for (const [file, bytes] of Object.entries(files))
        assert.ok(Buffer.from(bytes).equals(await readFile(store, manifest, file)), file);
    });

    test('an id is written once', async () => {
      const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
      await store.write(manifest, open);
      const other = makePackage({ 'a.txt': randomBytes(11) }, manifest.id);
      await assert.rejects(store.write(other.manifest, other.open), { code: 'policy_exists', status: 409 });
      await assert.rejects(store.write(manifest, open), { code: 'policy_exists' });
      assert.equal((await readFile(store, manifest, 'a.txt')).length, 10);
    });

    test('of two writers of different packages under one id one is refused', async () => {
      const id = newId('pol_');
      const packages = [makePackage({ 'a.txt': randomBytes(10) }, id), makePackage({ 'b.txt': randomBytes(11) }, id)];
      const written = await Promise.allSettled(packages.map(({ manifest, open }) => store.write(manifest, open)));
      assert.deepEqual(written.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
      const refused = written.find((one) => one.status === 'rejected')!;
      assert.equal(refused.reason.code, 'policy_exists');
      const winner = packages[written.findIndex(({ status }) => status === 'fulfilled')]!;
      assert.deepEqual(await store.manifest(id), winner.manifest);
    });

    test('a package that is not there is null, and its files model_not_found', async () => {
      const id = newId('pol_');
      assert.equal(await store.manifest(id), null);
      await assert.rejects(store.read(id, 'config.json'), { code: 'model_not_found', status: 404 });
      for (const strange of ['', '..', 'pol_x', '../pol_x', `${id}/../x`]) {
        assert.equal(await store.manifest(strange), null);
        await assert.rejects(store.read(strange, 'config.json'), { code: 'model_not_found' });
      }
    });

    test('a file that the package has not, or that lies outside of it, is damage', async () => {
      const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
      await store.write(manifest, open);
      for (const file of ['b.txt', '../x', '/etc/passwd', ''])
        await assert.rejects(store.read(manifest.id, file), { code: 'damaged_policy' }, file);
      await assert.rejects(readFile(store, manifest, 'b.txt'), {
        code: 'damaged_policy',
        message: /lists no file b\.txt/,
      });
    });

    for (const [file, failAt] of [
      ['a small file', 0],
      ['a large file', 9 * 2 ** 20],
    ] as const)
      test(`an upload that ends in the middle of ${file} leaves nothing to see and can be repeated`, async () => {
        const { manifest, open } = makePackage({ 'a.txt': randomBytes(10), 'b.bin': big, 'c.txt': randomBytes(12) });
        const fails = failAt === 0 ? 'c.txt' : 'b.bin';
        const failing = (name: string) => (name === fails ? streamOf(big, failAt) : open(name));
        await assert.rejects(store.write(manifest, failing), { message: 'the disk was pulled out' });
        assert.equal(await store.manifest(manifest.id), null);
        await assert.rejects(store.read(manifest.id, 'nothing.txt'), { code: 'model_not_found' });
        await store.write(manifest, open);
        assert.deepEqual(await readFile(store, manifest, 'c.txt'), randomBytes(12));
      });

    test('what an interrupted upload left can be removed; a whole package cannot', async () => {
      const { manifest, open } = makePackage({ 'a.txt': randomBytes(10), 'b.bin': big });
      await assert.rejects(store.write(manifest, (name) => (name === 'b.bin' ? streamOf(big, 9e6) : open(name))));
      await store.discard(manifest.id);
      await assert.rejects(store.read(manifest.id, 'a.txt'), { code: 'model_not_found' });
      await store.write(manifest, open);
      await store.discard(manifest.id);
      assert.deepEqual(await readFile(store, manifest, 'a.txt'), randomBytes(10));
    });

    for (const [what, bytes] of [
      ['another byte', randomBytes(10).map((byte, at) => (at === 5 ? byte ^ 1 : byte))],
      ['fewer bytes', randomBytes(9)],
      ['more bytes', randomBytes(11)],
    ] as const)
      test(`${what} than the manifest says are refused before the package is visible`, async () => {
        const { manifest } = makePackage({ 'a.txt': randomBytes(10) });
        await assert.rejects(
          store.write(manifest, () => streamOf(bytes)),
          { code: 'damaged_policy', message: /file a\.txt has / },
        );
        assert.equal(await store.manifest(manifest.id), null);
      });

    test('a large file whose end is not what the manifest says is refused', async () => {
      const { manifest, open } = makePackage({ 'b.bin': big });
      const other = big.slice();
      other[other.length - 1]! ^= 1;
      await assert.rejects(
        store.write(manifest, () => streamOf(other)),
        { code: 'damaged_policy' },
      );
      assert.equal(await store.manifest(manifest.id), null);
      await store.write(manifest, open);
    });

    test('a byte that changed at rest is found by whoever reads it', async () => {
      const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
      await store.write(manifest, open);
      await damage(manifest.id, 'a.txt');
      await assert.rejects(readFile(store, manifest, 'a.txt'), {
        code: 'damaged_policy',
        message: /a\.txt has SHA-256/,
      });
      const stream = await openFile(store, manifest, 'a.txt');
      await assert.rejects(Array.fromAsync(stream), { code: 'damaged_policy' });
    });

    if (name !== 'folder')
      test('a policy.json that changed at rest is refused', async () => {
        const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
        await store.write(manifest, open);
        await damage(manifest.id, 'policy.json');
        await assert.rejects(store.manifest(manifest.id), {
          code: 'damaged_policy',
          message: /policy\.json is not what/,
        });
      });
  });
}

test('a folder that is written to has nothing but whole packages and no drafts', async () => {
  const root = path.join(home, 'tidy');
  const store = await openFolderStore(root);
  const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
  await assert.rejects(store.write(manifest, () => streamOf(randomBytes(10), 0)));
  assert.deepEqual(await readdir(root), []);
  await store.write(manifest, open);
  assert.deepEqual(await readdir(root), [manifest.id]);
});
