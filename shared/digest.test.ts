import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { hashContentWith, hashList, sha256 } from './digest.ts';
import { hashFile } from './package/files.ts';

test('text, bytes and files have the published digest of "abc"', async () => {
  const expected = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
  const folder = await mkdtemp(join(tmpdir(), 'attune-digest-'));
  await writeFile(join(folder, 'abc'), 'abc');
  assert.equal(sha256('abc'), expected);
  assert.equal(sha256(Uint8Array.of(97, 98, 99)), expected);
  assert.deepEqual(await hashFile(join(folder, 'abc')), { sha256: expected, bytes: 3 });
  await rm(folder, { recursive: true });
});

test('lists that join to the same text have different digests', () => {
  const digests = [['ab'], ['a', 'b'], ['b', 'a'], ['', 'ab'], []].map(hashList);
  assert.equal(new Set(digests).size, 5);
});

test('a keyed digest depends on the secret, and not on the order of keys', () => {
  assert.equal(
    hashContentWith('key', 'x'),
    // printf '"x"' | openssl dgst -sha256 -hmac key
    '7a2c53faaad4ecc87cc29f593f9af73c78064007ceb5f575a5d78cbbeb498231',
  );
  assert.equal(hashContentWith('key', { a: 1, b: 2 }), hashContentWith('key', { b: 2, a: 1 }));
  assert.notEqual(hashContentWith('key', 'x'), hashContentWith('other', 'x'));
});
