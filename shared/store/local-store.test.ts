// Shelves of several machines and processes, alone and on one S3 store, with a real server behind a wire that breaks.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFaultyProxy, startS3Server } from '../../testing/s3-server.ts';
import { makePackage, randomBytes, type TestPackage } from '../../testing/store-package.ts';
import { AttuneError } from '../error.ts';
import { packageFilePath, readManifest, writeManifest } from '../package/files.ts';
import { openFolderStore } from './folder.ts';
import { type LocalStore, openLocalStoreAt } from './local-store.ts';
import { fetchByNodeHttp } from './node-http.ts';
import { openS3Store } from './s3.ts';
import type { S3Location } from './s3-client.ts';

const home = await mkdtemp(path.join(tmpdir(), 'attune-shelf-'));
after(() => rm(home, { recursive: true }));
let roots = 0;
const newRoot = () => path.join(home, `shelf-${roots++}`);

const files = { 'config.json': randomBytes(300), 'onnx/model.onnx_data': randomBytes(10 * 2 ** 20) };

async function layDraft(shelf: LocalStore, made: TestPackage = makePackage(files)) {
  const { manifest } = made;
  const draft = await shelf.createStaging();
  for (const [name, bytes] of Object.entries(made.files)) {
    await mkdir(path.dirname(packageFilePath(draft, name)), { recursive: true });
    await writeFile(packageFilePath(draft, name), bytes);
  }
  await writeManifest(draft, manifest);
  return { draft, id: manifest.id, manifest };
}

const draftsIn = async (root: string) => (await readdir(root)).filter((name) => name.startsWith('.draft'));

describe('a shelf alone', () => {
  test('shows what was published and nothing before', async () => {
    const root = newRoot();
    const shelf = await openLocalStoreAt(root);
    const { draft, id } = await layDraft(shelf);
    await assert.rejects(shelf.folderOf(id), { code: 'model_not_found', message: new RegExp(`is not in ${root}`) });
    await shelf.publish(draft, id);
    assert.equal(await shelf.folderOf(id), path.join(root, id));
    assert.deepEqual(await readdir(root), [id]);
    await assert.rejects(shelf.publish((await layDraft(shelf)).draft, id), { message: /an id is never reused/ });
    await assert.rejects(shelf.folderOf('../x'), { code: 'model_not_found' });
  });

  test('refuses a damaged package', async () => {
    const root = newRoot();
    const shelf = await openLocalStoreAt(root);
    const { draft, id } = await layDraft(shelf);
    await shelf.publish(draft, id);
    await appendFile(path.join(root, id, 'config.json'), 'x');
    await assert.rejects((await openLocalStoreAt(root)).folderOf(id), {
      code: 'damaged_policy',
      message: /has 301 bytes/,
    });
  });

  test('removes drafts of dead processes, and no others', async () => {
    const root = newRoot();
    const shelf = await openLocalStoreAt(root);
    const mine = path.basename(await shelf.createStaging());
    const [now, before] = [Date.now(), Math.floor(performance.timeOrigin) - 1000];
    const others = {
      dead: `.draft-${hostname()}-999999999-${now}-0`,
      parent: `.draft-${hostname()}-${process.ppid}-${before}-0`,
      predecessor: `.draft-${hostname()}-${process.pid}-${before}-0`,
      elsewhere: `.draft-some-other-host-1-${now}-0`,
      elsewhereOld: `.draft-some-other-host-1-${now - 2 * 86_400_000}-0`,
    };
    for (const name of Object.values(others)) await mkdir(path.join(root, name));
    await openLocalStoreAt(root);
    assert.deepEqual((await readdir(root)).sort(), [mine, others.parent, others.elsewhere].sort());
  });
});

describe('shelves on one S3 store', async () => {
  const server = await startS3Server();
  if ('missing' in server) {
    test('needs a tool', { skip: server.missing });
    return;
  }
  const { location: place, folder: objects } = server;
  const wire = await startFaultyProxy(place);
  const children: ChildProcess[] = [];
  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    wire.close();
    await server.close();
  });
  const store = openS3Store(place, fetchByNodeHttp);
  const wired: S3Location = { ...place, endpoint: wire.endpoint, maxAttempts: 2 };

  /** Uploads in parts that were started and neither completed nor aborted; versitygw keeps each in a folder. */
  async function openUploads(): Promise<number> {
    const folder = path.join(objects, '.sgwtmp', 'multipart');
    const entries = await readdir(folder, { recursive: true });

    return entries.filter((name) => name.split(path.sep).length === 2).length;
  }

  /** Runs code in a process of its own, with the shelf of this root. */
  function elsewhere(root: string, place: S3Location, code: string): { child: ChildProcess; ended: Promise<string> } {
    const url = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
    const script = `
      import { openLocalStoreAt } from ${url('./local-store.ts')};
      import { fetchByNodeHttp } from ${url('./node-http.ts')};
      import { openS3Store } from ${url('./s3.ts')};
      const shelf = await openLocalStoreAt(${JSON.stringify(root)}, openS3Store(${JSON.stringify(place)}, fetchByNodeHttp));
      ${code}`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    let said = '';
    child.stdout!.on('data', (chunk) => (said += chunk));
    return { child, ended: new Promise((resolve) => child.once('exit', () => resolve(said))) };
  }

  test('what one publishes another loads, and keeps while the store is away', async () => {
    const one = await openLocalStoreAt(newRoot(), store);
    const { draft, id, manifest } = await layDraft(one);
    await one.publish(draft, id);
    const root = newRoot();
    const folder = await (await openLocalStoreAt(root, store)).folderOf(id);
    assert.deepEqual(await readManifest(folder), manifest);
    for (const [name, bytes] of Object.entries(files))
      assert.deepEqual(new Uint8Array(await readFile(packageFilePath(folder, name))), bytes);
    assert.deepEqual(await readdir(root), [id]);
    const away = openS3Store({ ...place, endpoint: 'http://127.0.0.1:2', maxAttempts: 1 }, fetchByNodeHttp);
    assert.equal(await (await openLocalStoreAt(root, away)).folderOf(id), folder);
  });

  test('a package that is nowhere is model_not_found', async () => {
    const shelf = await openLocalStoreAt(newRoot(), store);
    await assert.rejects(shelf.folderOf(makePackage({}).manifest.id), {
      code: 'model_not_found',
      message: /its package is not in s3:\/\/policies/,
    });
  });

  test('many ask at once, in one process and in several', async () => {
    const one = await openLocalStoreAt(newRoot(), store);
    const { draft, id } = await layDraft(one);
    await one.publish(draft, id);
    const root = newRoot();
    const here = await openLocalStoreAt(root, store);
    const there = [1, 2].map(() => elsewhere(root, place, `console.log(await shelf.folderOf(${JSON.stringify(id)}));`));
    const folders = await Promise.all(Array.from({ length: 10 }, () => here.folderOf(id)));
    for (const { ended } of there) folders.push((await ended).trim());
    assert.deepEqual([...new Set(folders)], [path.join(root, id)]);
    assert.deepEqual(await readdir(root), [id]);
  });

  test('a copy that was damaged here is fetched again', async () => {
    const root = newRoot();
    const shelf = await openLocalStoreAt(root, store);
    const { draft, id } = await layDraft(shelf);
    await shelf.publish(draft, id);
    await appendFile(path.join(root, id, 'config.json'), 'x');
    await rm(path.join(root, id, 'onnx'), { recursive: true });
    const folder = await (await openLocalStoreAt(root, store)).folderOf(id);
    assert.deepEqual(new Uint8Array(await readFile(path.join(folder, 'config.json'))), files['config.json']);
    assert.deepEqual(await readdir(root), [id]);
  });

  test('what is damaged in the store is refused and leaves nothing', async () => {
    const one = await openLocalStoreAt(newRoot(), store);
    const { draft, id } = await layDraft(one);
    await one.publish(draft, id);
    const target = path.join(objects, id, 'config.json');
    const bytes = await readFile(target);
    bytes[7]! ^= 1;
    await writeFile(target, bytes);
    const root = newRoot();
    await assert.rejects((await openLocalStoreAt(root, store)).folderOf(id), {
      code: 'damaged_policy',
      message: /config\.json/,
    });
    assert.deepEqual(await readdir(root), []);
  });

  test('publishing that is cut off shows the package nowhere and can be repeated', async () => {
    const root = newRoot();
    const shelf = await openLocalStoreAt(root, openS3Store(wired, fetchByNodeHttp));
    const { draft, id } = await layDraft(shelf);
    wire.fault = { kind: 'cut', way: 'there', at: 2 ** 20, times: 100 };
    await assert.rejects(shelf.publish(draft, id), { code: 'policy_store_unreachable' });
    assert.ok(wire.happened > 0);
    assert.equal(await store.manifest(id), null);
    assert.ok(!existsSync(path.join(root, id)));
    wire.fault = undefined;
    await shelf.publish(draft, id);
    assert.equal((await store.manifest(id))?.id, id);
    assert.deepEqual(await readdir(root), [id]);
  });

  test('a draft that is given up after an interrupted upload leaves nothing in the store', async () => {
    const root = newRoot();
    const shelf = await openLocalStoreAt(root, openS3Store(wired, fetchByNodeHttp));
    const { draft, id } = await layDraft(shelf);
    wire.fault = { kind: 'cut', way: 'there', at: 2 ** 20, times: 100 };
    await assert.rejects(shelf.publish(draft, id));
    wire.fault = undefined;
    assert.ok(existsSync(path.join(objects, id)));
    await shelf.discard(draft);
    assert.ok(!existsSync(path.join(objects, id)));
    assert.deepEqual(await readdir(root), []);
  });

  test('a publisher that is killed in the middle shows nothing, and who comes after it cleans up', async () => {
    const root = newRoot();
    const source = await layDraft(await openLocalStoreAt(newRoot()));
    wire.fault = { kind: 'hang', way: 'there', at: 2 ** 20, times: 100 };
    wire.happened = 0;
    const { child, ended } = elsewhere(
      root,
      wired,
      `import { cp } from 'node:fs/promises';
      const draft = await shelf.createStaging();
      await cp(${JSON.stringify(source.draft)}, draft, { recursive: true });
      await shelf.publish(draft, ${JSON.stringify(source.id)});`,
    );
    while (wire.happened === 0) await sleep(20);
    child.kill('SIGKILL');
    await ended;
    wire.fault = undefined;
    assert.equal(await store.manifest(source.id), null);
    assert.equal((await draftsIn(root)).length, 1);
    assert.ok(existsSync(path.join(objects, source.id)));
    assert.equal(await openUploads(), 1);

    // Another machine sees nothing of it; the same machine removes what is left and can publish it after all.
    await assert.rejects((await openLocalStoreAt(newRoot(), store)).folderOf(source.id), { code: 'model_not_found' });
    const shelf = await openLocalStoreAt(root, store);
    assert.deepEqual(await readdir(root), []);
    assert.ok(!existsSync(path.join(objects, source.id)));
    assert.equal(await openUploads(), 0);
    const again = await layDraft(shelf, { ...makePackage(files, source.id), manifest: source.manifest });
    await shelf.publish(again.draft, source.id);
    assert.deepEqual(
      await readManifest(await (await openLocalStoreAt(newRoot(), store)).folderOf(source.id)),
      source.manifest,
    );
  });

  test('a dead draft stays while the store cannot be asked', async () => {
    const root = newRoot();
    const shelf = await openLocalStoreAt(root);
    const { draft } = await layDraft(shelf);
    const dead = `.draft-${hostname()}-999999999-1-0`;
    await rename(draft, path.join(root, dead));
    const away = openS3Store({ ...place, endpoint: 'http://127.0.0.1:2', maxAttempts: 1 }, fetchByNodeHttp);
    await openLocalStoreAt(root, away);
    assert.deepEqual(await readdir(root), [dead]);
    await openLocalStoreAt(root, store);
    assert.deepEqual(await readdir(root), []);
  });
});

describe('a shelf before a store', () => {
  const wait = { timeout: 60_000 };

  test('publishing waits for a store that is away, and no longer than it may', wait, async () => {
    const store = await openFolderStore(newRoot());
    const away = new AttuneError('the store is away', { status: 503, code: 'policy_store_unreachable' });
    let attempts = 0;
    const write: typeof store.write = async (manifest, open) => {
      if (attempts++ === 0) throw away;
      await store.write(manifest, open);
    };
    const patient = await openLocalStoreAt(newRoot(), { ...store, write }, 20_000);
    const { draft, id } = await layDraft(patient);
    await patient.publish(draft, id);
    assert.equal(attempts, 2);
    assert.equal((await store.manifest(id))?.id, id);

    attempts = 0;
    const hasty = await openLocalStoreAt(newRoot(), { ...store, write });
    const other = await layDraft(hasty, makePackage(files));
    await assert.rejects(hasty.publish(other.draft, other.id), away);
  });

  test('copies that nobody needs are removed, and only those that the store has', async () => {
    const root = newRoot();
    const store = await openFolderStore(newRoot());
    const alone = await openLocalStoreAt(root);
    const unsent = await layDraft(alone);
    await alone.publish(unsent.draft, unsent.id);
    const shelf = await openLocalStoreAt(root, store);
    const ids: string[] = [];
    for (let made = 0; made < 7; made++) {
      const { draft, id } = await layDraft(shelf, makePackage({ 'config.json': randomBytes(300) }));
      await shelf.publish(draft, id);
      ids.push(id);
      await sleep(5);
    }
    await shelf.folderOf(ids[1]!);
    await alone.trim();
    assert.equal((await readdir(root)).length, 8);
    await shelf.trim([ids[0]!]);
    const [first, asked, ...others] = ids;
    assert.deepEqual(new Set(await readdir(root)), new Set([unsent.id, first, asked, ...others.slice(-3)]));
    assert.equal(await shelf.folderOf(others[0]!), path.join(root, others[0]!));
  });
});
