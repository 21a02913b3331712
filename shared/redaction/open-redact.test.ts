import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { openRedact } from './open-redact.ts';
import { redactPrompt, redactValue } from './redact.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'attune-redact-'));
after(() => rm(folder, { recursive: true, force: true }));

async function open(name: string, source: string) {
  const file = path.join(folder, name);
  await writeFile(file, source);
  return openRedact(file);
}

test('without REDACT every text stays, and pii is built in', async () => {
  assert.equal(await openRedact(undefined), null);
  const value = { a: ['ann@example.com'] };
  assert.equal(await redactValue(null, value), value);
  assert.equal(await (await openRedact('pii'))!('ann@example.com'), '[EMAIL]');
});

test('a module redacts every text of a value, and neither names of fields nor roles', async () => {
  const redact = await open('upper.ts', 'export default async (text: string) => text.replaceAll("user", "[NAME]");');
  const value = { user: ['a user', 1, null, { text: 'users' }], other: 'text' };
  assert.deepEqual(await redactValue(redact, value), {
    user: ['a [NAME]', 1, null, { text: '[NAME]s' }],
    other: 'text',
  });
  const prompt = [
    { role: 'user' as const, content: 'I am user' },
    { role: 'assistant' as const, content: 'Hello' },
  ];
  assert.deepEqual(await redactPrompt(redact, prompt), [{ role: 'user', content: 'I am [NAME]' }, prompt[1]]);
});

test('a value in which nothing is redacted is returned itself', async () => {
  const redact = await openRedact('pii');
  for (const value of [{ a: ['b', { c: 'd' }] }, 'text', 1, null, undefined])
    assert.equal(await redactValue(redact, value), value);
  const prompt = [{ role: 'user' as const, content: 'Hello' }];
  assert.equal(await redactPrompt(redact, prompt), prompt);
});

for (const [name, source, message] of [
  ['broken.ts', 'export default (', /broken\.ts: the import failed: .*; fix the module, or its path$/s],
  [
    'named.ts',
    'export const redact = 1;',
    /named\.ts: the default export is not a function; write export default \(text\)/,
  ],
] as const)
  test(`${name} is refused before the server starts`, () =>
    assert.rejects(open(name, source), { code: 'invalid_settings', message }));

test('a missing module is refused', () =>
  assert.rejects(openRedact('./missing-redact.ts'), {
    message: /^settings: REDACT: \.\/missing-redact\.ts: the import/,
  }));

for (const [name, source] of [
  ['throws.ts', 'export default (text) => { throw new TypeError(text); };'],
  ['rejects.ts', 'export default async (text) => { throw text; };'],
  ['returns-nothing.ts', 'export default () => {};'],
] as const)
  test(`${name} fails the request, in a message without the text`, async () => {
    const redact = await open(name, source);
    await assert.rejects(redactValue(redact, { a: 'canary' }), (error: Error & { code?: string }) => {
      assert.equal(error.code, 'redaction_failed');
      assert.match(
        error.message,
        /^REDACT: .*\.ts (threw (TypeError|no Error)|returned no text), so the text and what it belongs to were not stored;/,
      );
      assert.doesNotMatch(error.message, /canary/);
      return true;
    });
  });
