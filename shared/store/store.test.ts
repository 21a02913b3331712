// The contract of PolicyStore, run over each binding: in memory, R2 as workerd implements it, and a real S3 server.
import assert from 'node:assert/strict';
import { mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import type { R2Bucket } from '@cloudflare/workers-types';
import { getPlatformProxy } from 'wrangler';
import { openMemoryStore } from '../../testing/memory-store.ts';
import { startS3Server } from '../../testing/s3-server.ts';
import { makePackage, randomBytes, toStream } from '../../testing/store-package.ts';
import { newId } from '../id.ts';
import { WRANGLER_OFFLINE_ENV } from '../wrangler-env.ts';
import { openLocalStoreAt } from './local-store.ts';
import { fetchByNodeHttp } from './node-http.ts';
import { openR2Store } from './r2.ts';
import { openS3Store } from './s3.ts';
import { openFile, type PolicyStore, readFile } from './store.ts';

Object.assign(process.env, WRANGLER_OFFLINE_ENV);

type Binding = {
  store: PolicyStore;
  /** Changes one byte of a stored file. */
  damage(id: string, file: string): Promise<void>;
};

const home = await mkdtemp(path.join(tmpdir(), 'attune-store-'));
after(() => rm(home, { recursive: true }));

async function openMemory(): Promise<Binding> {
  const store = openMemoryStore();
  return {
    store,
    async damage(id, file) {
      store.objects.get(`${id}/${file}`)![5]! ^= 1;
    },
  };
}

async function openR2(): Promise<Binding> {
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

async function openS3(): Promise<Binding | string> {
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

for (const [name, openBinding] of Object.entries({ memory: openMemory, R2: openR2, S3: openS3 })) {
  describe(`the policy store in ${name}`, async () => {
    const binding = await openBinding();
    if (typeof binding === 'string') {
      test('needs versitygw', { skip: binding });
      return;
    }
    const { store, damage } = binding;

    test('a package is read back as written, with files of any size and name', async () => {
      const { manifest, open } = makePackage(files);
      await store.write(manifest, open);
      assert.deepEqual(await store.manifest(manifest.id), manifest);
      for (const [file, bytes] of Object.entries(files))
        assert.ok(Buffer.from(bytes).equals(await readFile(store, manifest, file)), file);
    });

    test('an id cannot be written twice', async () => {
      const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
      await store.write(manifest, open);
      const other = makePackage({ 'a.txt': randomBytes(11) }, manifest.id);
      await assert.rejects(store.write(other.manifest, other.open), { code: 'policy_exists', status: 409 });
      await assert.rejects(store.write(manifest, open), { code: 'policy_exists' });
      assert.equal((await readFile(store, manifest, 'a.txt')).length, 10);
    });

    test('one of two concurrent writers of the same id is rejected', async () => {
      const id = newId('pol_');
      const packages = [makePackage({ 'a.txt': randomBytes(10) }, id), makePackage({ 'b.txt': randomBytes(11) }, id)];
      const written = await Promise.allSettled(packages.map(({ manifest, open }) => store.write(manifest, open)));
      assert.deepEqual(written.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
      const rejected = written.find((one) => one.status === 'rejected')!;
      assert.equal(rejected.reason.code, 'policy_exists');
      const winner = packages[written.findIndex(({ status }) => status === 'fulfilled')]!;
      assert.deepEqual(await store.manifest(id), winner.manifest);
    });

    test('a missing package has a null manifest, and reading its files fails with model_not_found', async () => {
      const id = newId('pol_');
      assert.equal(await store.manifest(id), null);
      await assert.rejects(store.read(id, 'config.json'), { code: 'model_not_found', status: 404 });
      for (const strange of ['', '..', 'pol_x', '../pol_x', `${id}/../x`]) {
        assert.equal(await store.manifest(strange), null);
        await assert.rejects(store.read(strange, 'config.json'), { code: 'model_not_found' });
      }
    });

    test('reading a file that is not in the package, or is outside of it, fails with damaged_policy', async () => {
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
      test(`an upload interrupted in ${file} is invisible and can be repeated`, async () => {
        const { manifest, open } = makePackage({ 'a.txt': randomBytes(10), 'b.bin': big, 'c.txt': randomBytes(12) });
        const fails = failAt === 0 ? 'c.txt' : 'b.bin';
        const failing = (name: string) => (name === fails ? toStream(big, failAt) : open(name));
        await assert.rejects(store.write(manifest, failing), { message: 'the disk was pulled out' });
        assert.equal(await store.manifest(manifest.id), null);
        await assert.rejects(store.read(manifest.id, 'nothing.txt'), { code: 'model_not_found' });
        await store.write(manifest, open);
        assert.deepEqual(await readFile(store, manifest, 'c.txt'), randomBytes(12));
      });

    test('discard removes an interrupted upload, but not a complete package', async () => {
      const { manifest, open } = makePackage({ 'a.txt': randomBytes(10), 'b.bin': big });
      await assert.rejects(store.write(manifest, (name) => (name === 'b.bin' ? toStream(big, 9e6) : open(name))));
      await store.discard(manifest.id);
      await assert.rejects(store.read(manifest.id, 'a.txt'), { code: 'model_not_found' });
      await store.write(manifest, open);
      await store.discard(manifest.id);
      assert.deepEqual(await readFile(store, manifest, 'a.txt'), randomBytes(10));
    });

    for (const [difference, bytes] of [
      ['a different byte', randomBytes(10).map((byte, at) => (at === 5 ? byte ^ 1 : byte))],
      ['fewer bytes', randomBytes(9)],
      ['more bytes', randomBytes(11)],
    ] as const)
      test(`a stream with ${difference} than in the manifest is rejected before the package is visible`, async () => {
        const { manifest } = makePackage({ 'a.txt': randomBytes(10) });
        await assert.rejects(
          store.write(manifest, () => toStream(bytes)),
          { code: 'damaged_policy', message: /file a\.txt has / },
        );
        assert.equal(await store.manifest(manifest.id), null);
      });

    test('a large file that differs from the manifest in its last byte is rejected', async () => {
      const { manifest, open } = makePackage({ 'b.bin': big });
      const other = big.slice();
      other[other.length - 1]! ^= 1;
      await assert.rejects(
        store.write(manifest, () => toStream(other)),
        { code: 'damaged_policy' },
      );
      assert.equal(await store.manifest(manifest.id), null);
      await store.write(manifest, open);
    });

    test('reading a file that changed at rest fails', async () => {
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

    test('a policy.json that changed at rest is rejected', async () => {
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

test('a download that fails leaves no staging folder and can be repeated', async () => {
  const root = path.join(home, 'local');
  const remote = openMemoryStore();
  const local = await openLocalStoreAt(root, remote);
  const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
  await remote.write(manifest, open);
  const bytes = remote.objects.get(`${manifest.id}/a.txt`)!;
  bytes[5]! ^= 1;
  await assert.rejects(local.getFolder(manifest.id), { code: 'damaged_policy' });
  assert.deepEqual(await readdir(root), []);
  bytes[5]! ^= 1;
  await local.getFolder(manifest.id);
  assert.deepEqual(await readdir(root), [manifest.id]);
});
