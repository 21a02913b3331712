import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createPublicId, createToken, parseToken, toKeyId } from './token.ts';

test('a key is parsed to its id and the hash of its secret, and no two are equal', () => {
  const publicId = createPublicId();
  const { token, secretHash } = createToken(publicId);
  assert.deepEqual(parseToken(token), { id: toKeyId(publicId), secretHash });
  assert.ok(!secretHash.includes(token.slice(-43)));
  assert.notEqual(createToken(publicId).token, token);
  assert.notEqual(createPublicId(), publicId);
});

test('a text that is not exactly a key is none', () => {
  const { token } = createToken(createPublicId());
  for (const text of [
    '',
    'sk-at-',
    token.slice(1),
    token.slice(0, -1),
    `${token}x`,
    token.toUpperCase(),
    `${token},${token}`,
  ])
    assert.equal(parseToken(text), null, text);
});
