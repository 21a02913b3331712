// What can go wrong between us and an S3-compatible server, with a real one and a wire that is cut, hangs or changes bytes.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { request as ask, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, beforeEach, describe, test } from 'node:test';
import { type Fault, startFaultyProxy, startS3Server } from '../../testing/s3-server.ts';
import { makePackage, randomBytes } from '../../testing/store-package.ts';
import { readSettings } from '../settings.ts';
import { openRemoteStore } from './configured-store.ts';
import { fetchByNodeHttp } from './node-http.ts';
import { openS3Store } from './s3.ts';
import { readFile } from './store.ts';

const MB = 2 ** 20;
const files = { 'config.json': randomBytes(3000), 'model.bin': randomBytes(20 * MB) };

describe('a policy store on an S3 server', async () => {
  const server = await startS3Server();
  if ('missing' in server) {
    test('needs a tool', { skip: server.missing });
    return;
  }
  const { location: place, folder } = server;
  const wire = await startFaultyProxy(place);
  after(async () => {
    wire.close();
    await server.close();
  });
  beforeEach(() => {
    wire.fault = undefined;
    wire.happened = 0;
  });
  const near = openS3Store(place, fetchByNodeHttp);
  const distant = { ...place, endpoint: wire.endpoint, maxAttempts: 3 };
  const far = openS3Store(distant, fetchByNodeHttp);
  /** A hanging connection is given up only after a while, and a busy machine may be slow. */
  const impatient = openS3Store({ ...distant, maxAttempts: 2, timeoutMs: 700 }, fetchByNodeHttp);
  const fail = (kind: Fault['kind'], way: Fault['way'], at: number, times: number) => {
    wire.fault = { kind, way, at, times };
  };

  for (const [kind, store, attempts] of [
    ['cut', far, 3],
    ['hang', impatient, 2],
  ] as const) {
    test(`an upload whose connection ${kind}s once in the middle of a part goes on`, async () => {
      const { manifest, open } = makePackage(files);
      fail(kind, 'there', 4 * MB, 1);
      await store.write(manifest, open);
      assert.equal(wire.happened, 1);
      assert.deepEqual(await readFile(near, manifest, 'model.bin'), files['model.bin']);
    });

    test(`an upload whose connection ${kind}s each time leaves nothing to see and can be repeated`, async () => {
      const { manifest, open } = makePackage(files);
      fail(kind, 'there', 4 * MB, 100);
      await assert.rejects(store.write(manifest, open), {
        name: 'AttuneError',
        status: 503,
        code: 'policy_store_unreachable',
        message: /^POLICY_STORE: http:\/\/127\.0\.0\.1:\d+ cannot be reached \(.+\); check AWS_ENDPOINT_URL/,
      });
      assert.equal(wire.happened, attempts);
      assert.equal(await near.manifest(manifest.id), null);
      assert.ok(existsSync(path.join(folder, manifest.id, 'config.json')));
      await near.write(manifest, open);
      assert.deepEqual(await readFile(near, manifest, 'model.bin'), files['model.bin']);
    });

    test(`a download whose connection ${kind}s goes on where it was`, async () => {
      const { manifest, open } = makePackage(files);
      await near.write(manifest, open);
      fail(kind, 'back', 7 * MB, 1);
      assert.deepEqual(await readFile(store, manifest, 'model.bin'), files['model.bin']);
      assert.equal(wire.happened, 1);
    });
  }

  test('a download that never gets on ends in an error', async () => {
    const { manifest, open } = makePackage(files);
    await near.write(manifest, open);
    fail('cut', 'back', 200, 1000);
    await assert.rejects(readFile(far, manifest, 'model.bin'), { code: 'policy_store_unreachable' });
  });

  test('the server refuses a part that was damaged on its way, and the same part is sent again', async () => {
    const { manifest, open } = makePackage(files);
    fail('flip', 'there', 4 * MB, 1);
    await far.write(manifest, open);
    assert.equal(wire.happened, 1);
    assert.deepEqual(await readFile(near, manifest, 'model.bin'), files['model.bin']);
  });

  test('bytes that are damaged each time on their way are never stored', async () => {
    const { manifest, open } = makePackage({ 'model.bin': randomBytes(5 * MB) });
    fail('flip', 'there', 4 * MB, 100);
    await assert.rejects(far.write(manifest, open), { message: /model\.bin arrived damaged at http/ });
    assert.equal(wire.happened, 3);
    assert.equal(await near.manifest(manifest.id), null);
    assert.ok(!existsSync(path.join(folder, manifest.id)));
  });

  test('bytes that are damaged on their way back are refused', async () => {
    const { manifest, open } = makePackage(files);
    await near.write(manifest, open);
    fail('flip', 'back', 4 * MB, 1);
    await assert.rejects(readFile(far, manifest, 'model.bin'), { code: 'damaged_policy' });
  });

  test('a policy.json whose answer was lost is written once and counts as written', async () => {
    const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
    // The first answer asks whether the id is taken, the second is the file's, the third that of policy.json.
    let answers = 0;
    const losing = openS3Store(
      { ...place, endpoint: await losingProxy(place.endpoint, () => ++answers === 3) },
      fetchByNodeHttp,
    );
    await losing.write(manifest, open);
    assert.ok(answers > 3, `${answers} answers`);
    assert.deepEqual(await near.manifest(manifest.id), manifest);
  });

  test('a large file whose last answer was lost is complete', async () => {
    const { manifest, open } = makePackage({ 'model.bin': files['model.bin'] });
    // id free?, start, three parts, complete
    let answers = 0;
    const losing = openS3Store(
      { ...place, endpoint: await losingProxy(place.endpoint, () => ++answers === 6) },
      fetchByNodeHttp,
    );
    await losing.write(manifest, open);
    assert.ok(answers > 6, `${answers} answers`);
    assert.deepEqual(await readFile(near, manifest, 'model.bin'), files['model.bin']);
  });

  const settings = (change: Record<string, string>) =>
    readSettings({
      POLICY_STORE: `s3://${place.bucket}/some/prefix/`,
      AWS_ENDPOINT_URL: place.endpoint,
      AWS_REGION: place.region,
      AWS_ACCESS_KEY_ID: place.accessKeyId,
      AWS_SECRET_ACCESS_KEY: place.secretAccessKey,
      ...change,
    });

  test('the settings open it, and without POLICY_STORE there is none', async () => {
    assert.equal(await openRemoteStore(readSettings({})), undefined);
    const store = (await openRemoteStore(settings({})))!;
    assert.equal(store.location, 's3://policies/some/prefix');
    const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
    await store.write(manifest, open);
    assert.ok(existsSync(path.join(folder, 'some', 'prefix', manifest.id, 'policy.json')));
  });

  for (const [what, change, message] of [
    ['a wrong key', { AWS_ACCESS_KEY_ID: 'nobody' }, /^AWS_ACCESS_KEY_ID: .* knows no key nobody; give/],
    [
      'a wrong secret',
      { AWS_SECRET_ACCESS_KEY: 'wrong' },
      /^AWS_SECRET_ACCESS_KEY: it is not the secret of key key; give/,
    ],
    ['a wrong region', { AWS_REGION: 'mars-1' }, /^AWS_REGION: mars-1 is not the region of bucket policies/],
    ['a missing bucket', { POLICY_STORE: 's3://nothing' }, /^POLICY_STORE: .* has no bucket nothing; make it/],
    ['no key', { AWS_ACCESS_KEY_ID: '' }, /^settings: AWS_ACCESS_KEY_ID is not set; POLICY_STORE is s3:/],
    ['no secret', { AWS_SECRET_ACCESS_KEY: '' }, /^settings: AWS_SECRET_ACCESS_KEY is not set/],
    ['neither region nor server', { AWS_REGION: '', AWS_ENDPOINT_URL: '' }, /^settings: AWS_REGION is not set; give/],
  ] as const)
    test(`${what} is named when the store is opened`, async () => {
      await assert.rejects(openRemoteStore(settings(change)), { name: 'AttuneError', retry: false, message });
    });

  test('a server that is no S3 server is named', async () => {
    const web = createServer((_, response) => response.writeHead(404).end('<html>not here</html>'));
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    after(() => web.close());
    const AWS_ENDPOINT_URL = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    await assert.rejects(openRemoteStore(settings({ AWS_ENDPOINT_URL })), {
      message: /^AWS_ENDPOINT_URL: .* answered 404 .* not as an S3 server does/,
    });
  });

  test('a server that is down does not keep the store from being opened, and is named when it is needed', async () => {
    const closed = await startFaultyProxy(place);
    closed.close();
    const AWS_ENDPOINT_URL = closed.endpoint;
    assert.ok(await openRemoteStore(settings({ AWS_ENDPOINT_URL })));
    const store = openS3Store({ ...place, endpoint: AWS_ENDPOINT_URL, maxAttempts: 2 }, fetchByNodeHttp);
    await assert.rejects(store.manifest(makePackage({}).manifest.id), {
      status: 503,
      retry: true,
      message: `POLICY_STORE: ${AWS_ENDPOINT_URL} cannot be reached (ECONNREFUSED); check AWS_ENDPOINT_URL and the network`,
    });
  });

  test('a server that is overloaded is asked again', async () => {
    let asked = 0;
    const busy = createServer((_, response) => response.writeHead(asked++ < 2 ? 503 : 404).end(missingKey));
    await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve));
    after(() => busy.close());
    const endpoint = `http://127.0.0.1:${(busy.address() as AddressInfo).port}`;
    assert.equal(
      await openS3Store({ ...place, endpoint }, fetchByNodeHttp).manifest(makePackage({}).manifest.id),
      null,
    );
    assert.equal(asked, 3);
  });
});

const missingKey = '<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>no</Message></Error>';

/** Hands requests on and, where it is told to, closes the connection in place of the answer. */
async function losingProxy(target: string, isLost: () => boolean): Promise<string> {
  const server = createServer(async (request, response) => {
    const chunks = await Array.fromAsync(request);
    // With all headers as they came: the signature is over the name of this host.
    const onward = ask(target + request.url, { method: request.method, headers: request.headers }, async (answer) => {
      const body = Buffer.concat(await Array.fromAsync(answer));
      if (isLost()) request.socket.destroy();
      else response.writeHead(answer.statusCode!, { ...answer.headers, connection: 'close' }).end(body);
    });
    onward.end(Buffer.concat(chunks));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
