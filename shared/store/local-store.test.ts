// Local stores of several machines and processes: without a remote store, and on one S3 store behind a faulty proxy.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openMemoryStore } from '../../testing/memory-store.ts';
import { startFaultyProxy, startS3Server } from '../../testing/s3-server.ts';
import { makePackage, randomBytes, type TestPackage } from '../../testing/store-package.ts';
import { AttuneError } from '../error.ts';
import { packageFilePath, readManifest, writeManifest } from '../package/files.ts';
import { type LocalStore, openLocalStoreAt } from './local-store.ts';
import { fetchByNodeHttp } from './node-http.ts';
import { openS3Store } from './s3.ts';
import type { S3Location } from './s3-protocol.ts';

const home = await mkdtemp(path.join(tmpdir(), 'attune-local-store-'));
after(() => rm(home, { recursive: true }));
let roots = 0;
const newRoot = () => path.join(home, `root-${roots++}`);

const files = { 'config.json': randomBytes(300), 'onnx/model.onnx_data': randomBytes(10 * 2 ** 20) };

async function stagePackage(local: LocalStore, made: TestPackage = makePackage(files)) {
  const { manifest } = made;
  const staging = await local.createStaging();
  for (const [name, bytes] of Object.entries(made.files)) {
    await mkdir(path.dirname(packageFilePath(staging, name)), { recursive: true });
    await writeFile(packageFilePath(staging, name), bytes);
  }
  await writeManifest(staging, manifest);
  return { staging, id: manifest.id, manifest };
}

const stagingIn = async (root: string) => (await readdir(root)).filter((name) => name.startsWith('.staging'));

describe('a local store without a remote one', () => {
  test('a package is visible once it is published', async () => {
    const root = newRoot();
    const local = await openLocalStoreAt(root);
    const { staging, id } = await stagePackage(local);
    await assert.rejects(local.getFolder(id), { code: 'model_not_found', message: new RegExp(`is not in ${root}`) });
    await local.publish(staging, id);
    assert.equal(await local.getFolder(id), path.join(root, id));
    assert.deepEqual(await readdir(root), [id]);
    await assert.rejects(local.publish((await stagePackage(local)).staging, id), { message: /an id is never reused/ });
    await assert.rejects(local.getFolder('../x'), { code: 'model_not_found' });
  });

  test('a damaged package is rejected', async () => {
    const root = newRoot();
    const local = await openLocalStoreAt(root);
    const { staging, id } = await stagePackage(local);
    await local.publish(staging, id);
    await appendFile(path.join(root, id, 'config.json'), 'x');
    await assert.rejects((await openLocalStoreAt(root)).getFolder(id), {
      code: 'damaged_policy',
      message: /has 301 bytes/,
    });
  });

  test('a use of a package verifies the files that it reads, each once', async () => {
    const root = newRoot();
    const names = ['model.safetensors', 'onnx/model.onnx_data', 'onnx/serve.onnx', 'onnx/serve.onnx_data'];
    const made = makePackage(Object.fromEntries(names.map((name) => [name, randomBytes(100)])));
    const first = await openLocalStoreAt(root);
    const { staging, id } = await stagePackage(first, made);
    await first.publish(staging, id);
    const damage = (name: string) => writeFile(packageFilePath(path.join(root, id), name), new Uint8Array(100));
    await damage('model.safetensors');
    const local = await openLocalStoreAt(root);
    assert.equal(await local.getFolder(id, 'serve'), path.join(root, id));
    await assert.rejects(local.getFolder(id), { code: 'damaged_policy', message: /model\.safetensors has SHA-256/ });
    await damage('onnx/serve.onnx_data');
    assert.equal(await local.getFolder(id, 'serve'), path.join(root, id), 'verified before');
    await assert.rejects((await openLocalStoreAt(root)).getFolder(id, 'serve'), {
      message: /serve\.onnx_data has SHA-256/,
    });
  });

  test('at float32 serving reads the weights of model.onnx', async () => {
    const root = newRoot();
    const local = await openLocalStoreAt(root);
    const { staging, id } = await stagePackage(local);
    await local.publish(staging, id);
    await writeFile(path.join(root, id, 'onnx', 'model.onnx_data'), new Uint8Array(10 * 2 ** 20));
    await assert.rejects(local.getFolder(id, 'serve'), { message: /model\.onnx_data has SHA-256/ });
  });

  test('a package with a policy.json other than the one that was published is rejected, also after it was verified', async () => {
    const root = newRoot();
    const unchecked = await openLocalStoreAt(root);
    const { staging, id } = await stagePackage(unchecked);
    const published = await readManifest(staging);
    await unchecked.publish(staging, id);
    const getPublished = async () => published;
    const local = await openLocalStoreAt(root, undefined, { getPublished });
    assert.equal(await local.getFolder(id), path.join(root, id));
    await writeManifest(path.join(root, id), { ...published, name: 'other', metrics: { accuracy: 1 } });
    for (const store of [local, await openLocalStoreAt(root, undefined, { getPublished })])
      await assert.rejects(store.getFolder(id), {
        code: 'damaged_policy',
        message: /its policy.json differs from the one in Postgres \(name, metrics\)/,
      });
    assert.equal(await unchecked.getFolder(id), path.join(root, id));
    await writeManifest(path.join(root, id), published);
    assert.equal(await local.getFolder(id), path.join(root, id));
  });

  test('staging folders of dead processes are removed, and no others', async () => {
    const root = newRoot();
    const local = await openLocalStoreAt(root);
    const own = path.basename(await local.createStaging());
    const [now, before] = [Date.now(), Math.floor(performance.timeOrigin) - 1000];
    const others = {
      dead: `.staging-${hostname()}-999999999-${now}-0`,
      parent: `.staging-${hostname()}-${process.ppid}-${before}-0`,
      predecessor: `.staging-${hostname()}-${process.pid}-${before}-0`,
      otherHost: `.staging-some-other-host-1-${now}-0`,
      otherHostOld: `.staging-some-other-host-1-${now - 2 * 86_400_000}-0`,
    };
    for (const name of Object.values(others)) await mkdir(path.join(root, name));
    await openLocalStoreAt(root);
    assert.deepEqual((await readdir(root)).sort(), [own, others.parent, others.otherHost].sort());
  });
});

describe('local stores on one S3 store', async () => {
  const server = await startS3Server();
  if ('missing' in server) {
    test('needs versitygw', { skip: server.missing });
    return;
  }
  const { location, folder: objects } = server;
  const proxy = await startFaultyProxy(location);
  const children: ChildProcess[] = [];
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    proxy.close();
    await server.close();
  });
  const store = openS3Store(location, fetchByNodeHttp);
  const throughProxy: S3Location = { ...location, endpoint: proxy.endpoint, maxAttempts: 2 };

  /** Multipart uploads that were neither completed nor aborted; versitygw keeps each in a folder. */
  async function openUploads(): Promise<number> {
    const folder = path.join(objects, '.sgwtmp', 'multipart');
    const entries = await readdir(folder, { recursive: true });
    return entries.filter((name) => name.split(path.sep).length === 2).length;
  }

  /** Runs code in another process, with the local store of this root. */
  function runInProcess(
    root: string,
    location: S3Location,
    code: string,
  ): { child: ChildProcess; ended: Promise<string> } {
    const url = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
    const script = `
      import { openLocalStoreAt } from ${url('./local-store.ts')};
      import { fetchByNodeHttp } from ${url('./node-http.ts')};
      import { openS3Store } from ${url('./s3.ts')};
      const local = await openLocalStoreAt(${JSON.stringify(root)}, openS3Store(${JSON.stringify(location)}, fetchByNodeHttp));
      ${code}`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    let output = '';
    child.stdout!.on('data', (chunk) => (output += chunk));
    return { child, ended: new Promise((resolve) => child.once('exit', () => resolve(output))) };
  }

  test('a published package is downloaded by another machine and served while the remote store is down', async () => {
    const one = await openLocalStoreAt(newRoot(), store);
    const { staging, id, manifest } = await stagePackage(one);
    await one.publish(staging, id);
    const root = newRoot();
    const folder = await (await openLocalStoreAt(root, store)).getFolder(id);
    assert.deepEqual(await readManifest(folder), manifest);
    for (const [name, bytes] of Object.entries(files))
      assert.deepEqual(new Uint8Array(await readFile(packageFilePath(folder, name))), bytes);
    assert.deepEqual(await readdir(root), [id]);
    const unreachable = openS3Store({ ...location, endpoint: 'http://127.0.0.1:2', maxAttempts: 1 }, fetchByNodeHttp);
    assert.equal(await (await openLocalStoreAt(root, unreachable)).getFolder(id), folder);
  });

  test('requesting a package that is in neither store fails with model_not_found', async () => {
    const local = await openLocalStoreAt(newRoot(), store);
    await assert.rejects(local.getFolder(makePackage({}).manifest.id), {
      code: 'model_not_found',
      message: /its package is not in s3:\/\/policies/,
    });
  });

  test('concurrent requests in one process and in several get one copy', async () => {
    const one = await openLocalStoreAt(newRoot(), store);
    const { staging, id } = await stagePackage(one);
    await one.publish(staging, id);
    const root = newRoot();
    const here = await openLocalStoreAt(root, store);
    const there = [1, 2].map(() =>
      runInProcess(root, location, `console.log(await local.getFolder(${JSON.stringify(id)}));`),
    );
    const folders = await Promise.all(Array.from({ length: 10 }, () => here.getFolder(id)));
    for (const { ended } of there) folders.push((await ended).trim());
    assert.deepEqual([...new Set(folders)], [path.join(root, id)]);
    assert.deepEqual(await readdir(root), [id]);
  });

  test('a damaged local copy is downloaded again', async () => {
    const root = newRoot();
    const local = await openLocalStoreAt(root, store);
    const { staging, id } = await stagePackage(local);
    await local.publish(staging, id);
    await appendFile(path.join(root, id, 'config.json'), 'x');
    await rm(path.join(root, id, 'onnx'), { recursive: true });
    const folder = await (await openLocalStoreAt(root, store)).getFolder(id);
    assert.deepEqual(new Uint8Array(await readFile(path.join(folder, 'config.json'))), files['config.json']);
    assert.deepEqual(await readdir(root), [id]);
  });

  test('a package that is damaged in the remote store is rejected and leaves nothing', async () => {
    const one = await openLocalStoreAt(newRoot(), store);
    const { staging, id } = await stagePackage(one);
    await one.publish(staging, id);
    const target = path.join(objects, id, 'config.json');
    const bytes = await readFile(target);
    bytes[7]! ^= 1;
    await writeFile(target, bytes);
    const root = newRoot();
    await assert.rejects((await openLocalStoreAt(root, store)).getFolder(id), {
      code: 'damaged_policy',
      message: /config\.json/,
    });
    assert.deepEqual(await readdir(root), []);
  });

  test('an interrupted publish is invisible everywhere and can be repeated', async () => {
    const root = newRoot();
    const local = await openLocalStoreAt(root, openS3Store(throughProxy, fetchByNodeHttp));
    const { staging, id } = await stagePackage(local);
    proxy.fault = { kind: 'cut', direction: 'request', at: 2 ** 20, count: 100 };
    await assert.rejects(local.publish(staging, id), { code: 'policy_store_unreachable' });
    assert.ok(proxy.faults > 0);
    assert.equal(await store.manifest(id), null);
    assert.ok(!existsSync(path.join(root, id)));
    proxy.fault = undefined;
    await local.publish(staging, id);
    assert.equal((await store.manifest(id))?.id, id);
    assert.deepEqual(await readdir(root), [id]);
  });

  test('a discarded package leaves nothing of its interrupted upload', async () => {
    const root = newRoot();
    const local = await openLocalStoreAt(root, openS3Store(throughProxy, fetchByNodeHttp));
    const { staging, id } = await stagePackage(local);
    proxy.fault = { kind: 'cut', direction: 'request', at: 2 ** 20, count: 100 };
    await assert.rejects(local.publish(staging, id));
    proxy.fault = undefined;
    assert.ok(existsSync(path.join(objects, id)));
    await local.discardStaging(staging);
    assert.ok(!existsSync(path.join(objects, id)));
    assert.deepEqual(await readdir(root), []);
  });

  test('a publish whose process is killed is invisible, and the next process removes its remains', async () => {
    const root = newRoot();
    const source = await stagePackage(await openLocalStoreAt(newRoot()));
    proxy.fault = { kind: 'hang', direction: 'request', at: 2 ** 20, count: 100 };
    proxy.faults = 0;
    const { child, ended } = runInProcess(
      root,
      throughProxy,
      `import { cp } from 'node:fs/promises';
      const staging = await local.createStaging();
      await cp(${JSON.stringify(source.staging)}, staging, { recursive: true });
      await local.publish(staging, ${JSON.stringify(source.id)});`,
    );
    while (proxy.faults === 0) await sleep(20);
    child.kill('SIGKILL');
    await ended;
    proxy.fault = undefined;
    assert.equal(await store.manifest(source.id), null);
    assert.equal((await stagingIn(root)).length, 1);
    assert.ok(existsSync(path.join(objects, source.id)));
    assert.equal(await openUploads(), 1);

    // It is invisible to another machine; this machine removes the remains and can publish it again.
    await assert.rejects((await openLocalStoreAt(newRoot(), store)).getFolder(source.id), { code: 'model_not_found' });
    const local = await openLocalStoreAt(root, store);
    assert.deepEqual(await readdir(root), []);
    assert.ok(!existsSync(path.join(objects, source.id)));
    assert.equal(await openUploads(), 0);
    const again = await stagePackage(local, { ...makePackage(files, source.id), manifest: source.manifest });
    await local.publish(again.staging, source.id);
    assert.deepEqual(
      await readManifest(await (await openLocalStoreAt(newRoot(), store)).getFolder(source.id)),
      source.manifest,
    );
  });

  test('an abandoned staging folder stays while the remote store is unreachable', async () => {
    const root = newRoot();
    const local = await openLocalStoreAt(root);
    const { staging } = await stagePackage(local);
    const dead = `.staging-${hostname()}-999999999-1-0`;
    await rename(staging, path.join(root, dead));
    const unreachable = openS3Store({ ...location, endpoint: 'http://127.0.0.1:2', maxAttempts: 1 }, fetchByNodeHttp);
    await openLocalStoreAt(root, unreachable);
    assert.deepEqual(await readdir(root), [dead]);
    await openLocalStoreAt(root, store);
    assert.deepEqual(await readdir(root), []);
  });
});

describe('a local store in front of a remote one', () => {
  const wait = { timeout: 60_000 };

  test('publishing retries an unreachable store until its timeout', wait, async () => {
    const store = openMemoryStore();
    const unreachable = new AttuneError('the store is unreachable', { status: 503, code: 'policy_store_unreachable' });
    let attempts = 0;
    const write: typeof store.write = async (manifest, open) => {
      if (attempts++ === 0) throw unreachable;
      await store.write(manifest, open);
    };
    const patient = await openLocalStoreAt(newRoot(), { ...store, write }, { publishTimeoutMs: 20_000 });
    const { staging, id } = await stagePackage(patient);
    await patient.publish(staging, id);
    assert.equal(attempts, 2);
    assert.equal((await store.manifest(id))?.id, id);

    attempts = 0;
    const impatient = await openLocalStoreAt(newRoot(), { ...store, write });
    const other = await stagePackage(impatient, makePackage(files));
    await assert.rejects(impatient.publish(other.staging, other.id), unreachable);
  });

  test('publishing stops while it uploads, and what it uploaded is removed', wait, async () => {
    const [root, remote] = [newRoot(), openMemoryStore()];
    const local = await openLocalStoreAt(root, remote);
    const { staging, id } = await stagePackage(local);
    let uploaded = 0;
    const throwIfStopped = () => {
      uploaded = remote.objects.size;
      if (uploaded > 0) throw new Error('stopped');
    };
    await assert.rejects(local.publish(staging, id, throwIfStopped), /^Error: stopped$/);
    assert.equal(uploaded, 1);
    await local.discardStaging(staging);
    assert.deepEqual([remote.objects.size, await readdir(root)], [0, []]);
  });

  test('a replaced copy is fetched again, and a replaced remote package is rejected', async () => {
    const root = newRoot();
    const store = openMemoryStore();
    const { staging, id } = await stagePackage(await openLocalStoreAt(root, store));
    const published = await readManifest(staging);
    await (await openLocalStoreAt(root, store)).publish(staging, id);
    const getPublished = async () => published;
    await writeManifest(path.join(root, id), { ...published, name: 'other' });
    const local = await openLocalStoreAt(root, store, { getPublished });
    assert.deepEqual(await readManifest(await local.getFolder(id)), published);

    const replaced = { ...store, manifest: async () => ({ ...published, name: 'other' }) };
    await assert.rejects((await openLocalStoreAt(newRoot(), replaced, { getPublished })).getFolder(id), {
      code: 'damaged_policy',
      message: /differs from the one in Postgres \(name\)/,
    });
  });

  test('trim removes unused copies, and only those that the remote store has', async () => {
    const root = newRoot();
    const store = openMemoryStore();
    const alone = await openLocalStoreAt(root);
    const unsent = await stagePackage(alone);
    await alone.publish(unsent.staging, unsent.id);
    const local = await openLocalStoreAt(root, store);
    const ids: string[] = [];
    for (let made = 0; made < 7; made++) {
      const { staging, id } = await stagePackage(local, makePackage({ 'config.json': randomBytes(300) }));
      await local.publish(staging, id);
      ids.push(id);
      await sleep(5);
    }
    await local.getFolder(ids[1]!);
    await alone.trim();
    assert.equal((await readdir(root)).length, 8);
    await local.trim([ids[0]!]);
    const [first, used, ...others] = ids;
    assert.deepEqual(new Set(await readdir(root)), new Set([unsent.id, first, used, ...others.slice(-3)]));
    assert.equal(await local.getFolder(others[0]!), path.join(root, others[0]!));
  });
});
