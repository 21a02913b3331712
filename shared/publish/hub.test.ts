import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { writeTinyCheckpoint } from '../../testing/tiny-checkpoint.ts';
import { sha256 } from '../digest.ts';
import { readCheckpoint } from '../model/checkpoint.ts';
import { type FetchProgress, fetchCheckpoint } from './hub.ts';

const COMMIT = 'c'.repeat(40);
let root: string;
let server: Server;
let env: Record<string, string>;
let files: Map<string, Buffer>;
let requested: string[];
let corrupted = '';

/** A server with the hub's three endpoints for downloads: the commit, the file list, the files. */
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'attune-hub-'));
  server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://hub');
    requested.push(url.pathname);
    const json = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (url.pathname.startsWith('/api/models/me/private/') && request.headers.authorization !== 'Bearer hf_good') {
      return json(401, { error: 'Invalid username or password.' });
    }
    const path = url.pathname.replace('/me/private/', '/me/tiny/');
    if (/^\/api\/models\/me\/tiny\/revision\/(HEAD|main)$/.test(path)) {
      return json(200, {
        _id: '1',
        id: 'me/tiny',
        sha: COMMIT,
        cardData: { license: 'mit' },
        lastModified: '2024-01-01',
      });
    }
    if (path === `/api/models/me/tiny/tree/${COMMIT}`) {
      const list = [...files].map(([name, bytes]) => ({
        type: 'file',
        path: name,
        size: bytes.length,
        oid: 'o',
        ...(name.endsWith('.safetensors') ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 1 } } : {}),
      }));
      return json(200, [...list, { type: 'directory', path: 'onnx', size: 0, oid: 'o' }]);
    }
    const bytes = files.get(path.slice(`/me/tiny/resolve/${COMMIT}/`.length));
    if (!path.startsWith(`/me/tiny/resolve/${COMMIT}/`) || !bytes) return json(404, { error: 'Not found' });
    const sent = corrupted && path.endsWith(corrupted) ? Buffer.from(bytes).fill(0, bytes.length - 4) : bytes;
    const [, from, to] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '') ?? [];
    if (from === undefined) return response.writeHead(200, { etag: '"e"' }).end(sent);
    const part = sent.subarray(Number(from), to ? Number(to) + 1 : undefined);
    const range = `bytes ${from}-${Number(from) + part.length - 1}/${sent.length}`;
    return response.writeHead(206, { etag: '"e"', 'content-range': range }).end(part);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  env = { HF_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
});

beforeEach(async () => {
  corrupted = '';
  requested = [];
  const source = await mkdtemp(join(root, 'source-'));
  await writeTinyCheckpoint(source, { layers: 4, hiddenSize: 128 });
  await writeFile(join(source, 'pytorch_model.bin'), 'pickle');
  const names = await readdir(source);
  files = new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(source, name))] as const)));
});

after(async () => {
  server.closeAllConnections();
  server.close();
  await rm(root, { recursive: true });
});

const target = () => mkdtemp(join(root, 'target-'));

test('downloads a checkpoint from one commit, without unneeded files', async () => {
  const folder = await target();
  const progress: FetchProgress[] = [];
  const fetched = await fetchCheckpoint('me/tiny', folder, { env, onProgress: (p) => progress.push(p) });
  assert.equal(fetched.source, `${new URL(env.HF_ENDPOINT!).host}/me/tiny@${COMMIT}`);
  assert.equal(fetched.license, 'mit');
  assert.deepEqual((await readdir(folder)).sort(), [...fetched.files].sort());
  assert(!fetched.files.includes('pytorch_model.bin'));
  assert.equal((await readCheckpoint(folder)).architecture.layers, 4);
  assert.equal(progress.at(-1)!.loadedBytes, progress.at(-1)!.totalBytes);
  assert(requested.filter((path) => path.includes('/resolve/')).every((path) => path.includes(COMMIT)));
});

test('downloads a private model with HF_TOKEN, and a named revision', async () => {
  const denied = fetchCheckpoint('me/private', await target(), { env });
  await assert.rejects(denied, {
    name: 'AttuneError',
    status: 404,
    message: /access is denied \(status 401\).*HF_TOKEN/,
  });
  const fetched = await fetchCheckpoint('me/private@main', await target(), { env: { ...env, HF_TOKEN: 'hf_good' } });
  assert(fetched.files.includes('model.safetensors'));
  await assert.rejects(fetchCheckpoint('me/tiny', await target(), { env: { ...env, HF_TOKEN: 'x' } }), /HF_TOKEN/);
});

test('rejects and removes a file that was damaged in transfer', async () => {
  corrupted = 'model.safetensors';
  const folder = await target();
  await assert.rejects(fetchCheckpoint('me/tiny', folder, { env }), {
    message: /model\.safetensors was damaged in transfer/,
  });
  assert(!(await readdir(folder)).some((name) => name.startsWith('model.safetensors')));
});

test('distinguishes a model without safetensors, an unknown model, an invalid name and an unreachable hub', async () => {
  files.delete('model.safetensors');
  const fetch = async (name: string, endpoint = env.HF_ENDPOINT!) =>
    fetchCheckpoint(name, await target(), { env: { HF_ENDPOINT: endpoint } });
  await assert.rejects(fetch('me/tiny'), { message: /me\/tiny has no model\.safetensors; choose/ });
  await assert.rejects(fetch('me/unknown'), { status: 404, message: /me\/unknown does not exist at/ });
  for (const name of ['tiny', 'a/b/c', '../x/y', 'me/tiny@']) await assert.rejects(fetch(name), /use OWNER\/NAME/);
  await assert.rejects(fetch('me/tiny', 'http://127.0.0.1:1'), {
    status: 502,
    message: /is unreachable.*HF_ENDPOINT/,
  });
  await assert.rejects(fetch('me/tiny', 'nonsense'), /HF_ENDPOINT: .* is not a URL/);
});
