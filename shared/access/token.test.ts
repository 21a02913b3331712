import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createToken, parseToken } from './token.ts';

for (const [kind, pattern] of [
  ['key', /^sk-at-[a-z0-9]{12}-[\w-]{43}$/],
  ['invitation', /^inv-at-[a-z0-9]{12}-[\w-]{43}$/],
] as const) {
  test(`the text of a ${kind} is parsed to its id and the hash of its secret, and no two are equal`, () => {
    const { id, token, secretHash } = createToken(kind);
    assert.match(token, pattern);
    assert.deepEqual(parseToken(kind, token), { id, secretHash });
    assert.ok(!secretHash.includes(token.slice(-43)));
    assert.notEqual(createToken(kind).id, id);
    const again = createToken(kind, id);
    assert.equal(again.id, id);
    assert.notEqual(again.token, token);
  });

  test(`a text that is not exactly one of a ${kind} is none`, () => {
    const { token } = createToken(kind);
    const { token: other } = createToken(kind === 'key' ? 'invitation' : 'key');
    for (const text of [
      '',
      'sk-at-',
      other,
      token.slice(1),
      token.slice(0, -1),
      `${token}x`,
      token.toUpperCase(),
      `${token},${token}`,
    ])
      assert.equal(parseToken(kind, text), null, text);
  });
}
