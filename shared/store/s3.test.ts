// Network faults before an S3-compatible server: a real server behind a proxy that cuts, stalls or corrupts connections.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
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
    test('needs versitygw', { skip: server.missing });
    return;
  }
  const { location, folder } = server;
  const proxy = await startFaultyProxy(location);
  after(async () => {
    proxy.close();
    await server.close();
  });
  beforeEach(() => {
    proxy.fault = undefined;
    proxy.faults = 0;
  });
  const direct = openS3Store(location, fetchByNodeHttp);
  const proxied = { ...location, endpoint: proxy.endpoint, maxAttempts: 3 };
  const retrying = openS3Store(proxied, fetchByNodeHttp);
  /** A hanging connection only ends by the timeout. */
  const impatient = openS3Store({ ...proxied, maxAttempts: 2, timeoutMs: 700 }, fetchByNodeHttp);
  const fail = (kind: Fault['kind'], direction: Fault['direction'], at: number, count: number) => {
    proxy.fault = { kind, direction, at, count };
  };

  for (const [kind, store, attempts] of [
    ['cut', retrying, 3],
    ['hang', impatient, 2],
  ] as const) {
    test(`an upload whose connection ${kind}s once in the middle of a part succeeds`, async () => {
      const { manifest, open } = makePackage(files);
      fail(kind, 'request', 4 * MB, 1);
      await store.write(manifest, open);
      assert.equal(proxy.faults, 1);
      assert.deepEqual(await readFile(direct, manifest, 'model.bin'), files['model.bin']);
    });

    test(`an upload whose connection ${kind}s at each attempt is invisible and can be repeated`, async () => {
      const { manifest, open } = makePackage(files);
      fail(kind, 'request', 4 * MB, 100);
      await assert.rejects(store.write(manifest, open), {
        name: 'AttuneError',
        status: 503,
        code: 'policy_store_unreachable',
        message: /^POLICY_STORE: http:\/\/127\.0\.0\.1:\d+ cannot be reached \(.+\); check AWS_ENDPOINT_URL/,
      });
      assert.equal(proxy.faults, attempts);
      assert.equal(await direct.manifest(manifest.id), null);
      assert.ok(existsSync(path.join(folder, manifest.id, 'config.json')));
      await direct.write(manifest, open);
      assert.deepEqual(await readFile(direct, manifest, 'model.bin'), files['model.bin']);
    });

    test(`a download whose connection ${kind}s resumes at that byte`, async () => {
      const { manifest, open } = makePackage(files);
      await direct.write(manifest, open);
      fail(kind, 'response', 7 * MB, 1);
      assert.deepEqual(await readFile(store, manifest, 'model.bin'), files['model.bin']);
      assert.equal(proxy.faults, 1);
    });
  }

  test('a download that makes no progress fails', async () => {
    const { manifest, open } = makePackage(files);
    await direct.write(manifest, open);
    fail('cut', 'response', 200, 1000);
    await assert.rejects(readFile(retrying, manifest, 'model.bin'), { code: 'policy_store_unreachable' });
  });

  test('a part that is damaged in transit is rejected by the server and sent again', async () => {
    const { manifest, open } = makePackage(files);
    fail('flip', 'request', 4 * MB, 1);
    await retrying.write(manifest, open);
    assert.equal(proxy.faults, 1);
    assert.deepEqual(await readFile(direct, manifest, 'model.bin'), files['model.bin']);
  });

  test('bytes that are damaged at each attempt are never stored', async () => {
    const { manifest, open } = makePackage({ 'model.bin': randomBytes(5 * MB) });
    fail('flip', 'request', 4 * MB, 100);
    await assert.rejects(retrying.write(manifest, open), { message: /model\.bin arrived damaged at http/ });
    assert.equal(proxy.faults, 3);
    assert.equal(await direct.manifest(manifest.id), null);
    assert.ok(!existsSync(path.join(folder, manifest.id)));
  });

  test('bytes that are damaged in a download are rejected', async () => {
    const { manifest, open } = makePackage(files);
    await direct.write(manifest, open);
    fail('flip', 'response', 4 * MB, 1);
    await assert.rejects(readFile(retrying, manifest, 'model.bin'), { code: 'damaged_policy' });
  });

  test('a policy.json whose response was lost counts as written', async () => {
    const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
    // Responses: the check for an existing id, the file, policy.json.
    let responses = 0;
    const losing = openS3Store(
      { ...location, endpoint: await losingProxy(location.endpoint, () => ++responses === 3) },
      fetchByNodeHttp,
    );
    await losing.write(manifest, open);
    assert.ok(responses > 3, `${responses} responses`);
    assert.deepEqual(await direct.manifest(manifest.id), manifest);
  });

  test('a large file whose last response was lost is complete', async () => {
    const { manifest, open } = makePackage({ 'model.bin': files['model.bin'] });
    // Responses: the check for an existing id, start, three parts, complete.
    let responses = 0;
    const losing = openS3Store(
      { ...location, endpoint: await losingProxy(location.endpoint, () => ++responses === 6) },
      fetchByNodeHttp,
    );
    await losing.write(manifest, open);
    assert.ok(responses > 6, `${responses} responses`);
    assert.deepEqual(await readFile(direct, manifest, 'model.bin'), files['model.bin']);
  });

  const settings = (change: Record<string, string>) =>
    readSettings({
      POLICY_STORE: `s3://${location.bucket}/some/prefix/`,
      AWS_ENDPOINT_URL: location.endpoint,
      AWS_REGION: location.region,
      AWS_ACCESS_KEY_ID: location.accessKeyId,
      AWS_SECRET_ACCESS_KEY: location.secretAccessKey,
      ...change,
    });

  test('the settings open the store; without POLICY_STORE there is none', async () => {
    assert.equal(await openRemoteStore(readSettings({})), undefined);
    const store = (await openRemoteStore(settings({})))!;
    assert.equal(store.location, 's3://policies/some/prefix');
    const { manifest, open } = makePackage({ 'a.txt': randomBytes(10) });
    await store.write(manifest, open);
    assert.ok(existsSync(path.join(folder, 'some', 'prefix', manifest.id, 'policy.json')));
  });

  for (const [problem, change, message] of [
    ['a wrong key', { AWS_ACCESS_KEY_ID: 'nobody' }, /^AWS_ACCESS_KEY_ID: .* has no key nobody; use/],
    ['a wrong secret', { AWS_SECRET_ACCESS_KEY: 'wrong' }, /^AWS_SECRET_ACCESS_KEY: wrong secret for key key; use/],
    ['a wrong region', { AWS_REGION: 'mars-1' }, /^AWS_REGION: mars-1 is not the region of bucket policies/],
    ['a missing bucket', { POLICY_STORE: 's3://nothing' }, /^POLICY_STORE: .* has no bucket nothing; create it/],
    ['no key', { AWS_ACCESS_KEY_ID: '' }, /^settings: AWS_ACCESS_KEY_ID is not set; POLICY_STORE is s3:/],
    ['no secret', { AWS_SECRET_ACCESS_KEY: '' }, /^settings: AWS_SECRET_ACCESS_KEY is not set/],
    ['neither region nor server', { AWS_REGION: '', AWS_ENDPOINT_URL: '' }, /^settings: AWS_REGION is not set; set it/],
  ] as const)
    test(`opening the store with ${problem} reports the setting`, async () => {
      await assert.rejects(openRemoteStore(settings(change)), { name: 'AttuneError', retry: false, message });
    });

  test('a server that is not an S3 server is reported', async () => {
    const web = createServer((_, response) => response.writeHead(404).end('<html>not here</html>'));
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    after(() => web.close());
    const AWS_ENDPOINT_URL = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    await assert.rejects(openRemoteStore(settings({ AWS_ENDPOINT_URL })), {
      message: /^AWS_ENDPOINT_URL: .* with 404 but is not an S3 server; check the URL/,
    });
  });

  test('a server that is down does not prevent opening, and is reported at the first request', async () => {
    const down = await startFaultyProxy(location);
    down.close();
    const AWS_ENDPOINT_URL = down.endpoint;
    assert.ok(await openRemoteStore(settings({ AWS_ENDPOINT_URL })));
    const store = openS3Store({ ...location, endpoint: AWS_ENDPOINT_URL, maxAttempts: 2 }, fetchByNodeHttp);
    await assert.rejects(store.manifest(makePackage({}).manifest.id), {
      status: 503,
      retry: true,
      message: `POLICY_STORE: ${AWS_ENDPOINT_URL} cannot be reached (ECONNREFUSED); check AWS_ENDPOINT_URL and the network`,
    });
  });

  test('a request to an overloaded server is repeated', async () => {
    let requests = 0;
    const busy = createServer((_, response) => response.writeHead(requests++ < 2 ? 503 : 404).end(missingKey));
    await new Promise<void>((resolve) => busy.listen(0, '127.0.0.1', resolve));
    after(() => busy.close());
    const endpoint = `http://127.0.0.1:${(busy.address() as AddressInfo).port}`;
    assert.equal(
      await openS3Store({ ...location, endpoint }, fetchByNodeHttp).manifest(makePackage({}).manifest.id),
      null,
    );
    assert.equal(requests, 3);
  });
});

const missingKey = '<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>no</Message></Error>';

/** Forwards requests; if `isLost` returns true, closes the connection instead of responding. */
async function losingProxy(target: string, isLost: () => boolean): Promise<string> {
  const server = createServer(async (request, outgoing) => {
    const chunks = await Array.fromAsync(request);
    // The headers are forwarded unchanged, since the signature covers the name of this host.
    const forwarded = httpRequest(
      target + request.url,
      { method: request.method, headers: request.headers },
      async (incoming) => {
        const body = Buffer.concat(await Array.fromAsync(incoming));
        if (isLost()) request.socket.destroy();
        else outgoing.writeHead(incoming.statusCode!, { ...incoming.headers, connection: 'close' }).end(body);
      },
    );
    forwarded.end(Buffer.concat(chunks));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
