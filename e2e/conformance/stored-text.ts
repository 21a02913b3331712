// Property: every text that the API stores comes back as it was sent, whatever it looks like.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { eq } from 'drizzle-orm';
import fc from 'fast-check';
import { selectGenerations } from '../../shared/database/generations.ts';
import { generations, idempotency_keys } from '../../shared/database/schema.ts';
import { arbitraryText } from '../../testing/arbitrary-text.ts';
import type { Json } from '../../testing/edge-server.ts';
import type { Api } from './api.ts';
import { assertError } from './errors.ts';

/** The same requests on every runtime, whose responses are compared. The limit is for finding a smaller counterexample. */
const RUNS = { numRuns: 30, seed: Date.now(), interruptAfterTimeLimit: 200_000 };
const IMPORTED = { numRuns: 200, seed: RUNS.seed };
const LONG = 100_000;

/** After an object with the key `\\`, JSON.parse of Node 24 reads the key `\N` of an object of its shape as that one. */
const BACKSLASH_IN_KEY = /\\\\[^"]*":/;

/** As a request has it: without undefined, and with the prototype of a plain object. A key __proto__ is refused. */
function json<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return arbitrary
    .map((value) => JSON.stringify(value))
    .filter((value) => !value.includes('"__proto__":') && !BACKSLASH_IN_KEY.test(value))
    .map((value) => JSON.parse(value) as T);
}

const text = arbitraryText();
const visible = text.filter((value) => value.trim() !== '');
/** With what the test adds, it is no longer than a rater's name may be. */
const raterName = text.filter(({ length }) => length <= 180);
const message = fc.record({ role: fc.constantFrom('system', 'user', 'assistant'), content: text });
const messages = json(fc.array(message, { minLength: 1, maxLength: 4 })).filter((list) =>
  list.some(({ content }) => content.trim() !== ''),
);
const prompt = fc.oneof(
  visible.map((prompt) => ({ prompt })),
  messages.map((messages) => ({ messages })),
);
const sides = fc
  .tuple(visible, visible)
  .filter(([chosen, rejected]) => chosen !== rejected)
  .map(([chosen, rejected]) => ({ chosen, rejected }));
/** OpenAI's: texts by name. */
const metadata = json(
  fc.dictionary(arbitraryText({ maxLength: 64 }), arbitraryText({ minLength: 0, maxLength: 512 }), { maxKeys: 16 }),
);

export function testStoredText(api: Api): void {
  const { db } = api.server.connection;
  const post = async (path: string, json: object): Promise<Json> => {
    const { status, body } = await api.request(path, { json });
    assert.equal(status, 200, JSON.stringify([body, json]));
    return body;
  };
  const get = async (path: string): Promise<Json> => (await api.request(path)).body;
  let model: string;
  before(async () => {
    model = await api.importTiny(4, { contextLength: 8192 });
  });

  test('the texts of a preference', async () => {
    const body = json(
      fc.record({
        pair: fc.tuple(prompt, sides).map(([prompt, sides]) => ({ ...prompt, ...sides })),
        rater: arbitraryText({ maxLength: 100 }),
        metadata: fc.dictionary(text, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 5 }),
        id: arbitraryText({ maxLength: 100 }),
      }),
    );
    const property = fc.asyncProperty(body, async ({ pair, rater, metadata, id }) => {
      const key = `${api.runtime} ${crypto.randomUUID()} ${id}`;
      // Another one for each run, because a rater votes once on two texts.
      const sent: Json = { ...pair, rater: `${rater} ${crypto.randomUUID()}`, metadata, id: key };
      const created = await post('/v1/preferences', sent);
      const { prompt, chosen, rejected } = created;
      assert.deepEqual(
        [prompt, chosen.text, rejected.text, created.rater, created.metadata],
        [sent.messages ?? sent.prompt, sent.chosen, sent.rejected, `user:${sent.rater}`, metadata],
      );
      assert.deepEqual(await get(`/v1/preferences/${created.id}`), created);
      // The response that was stored under the key.
      assert.deepEqual(await post('/v1/preferences', sent), created);
      assert.equal(await db.$count(idempotency_keys, eq(idempotency_keys.key, key)), 1);
    });
    await fc.assert(property, RUNS);
  });

  test('the texts of a comparison, and of a vote on it', async () => {
    const property = fc.asyncProperty(prompt, metadata, async (fields, metadata) => {
      const sent = { ...fields, metadata, model, max_tokens: 2 };
      const created = await post('/v1/comparisons', sent);
      assert.deepEqual([created.prompt, created.metadata], [Object.values(fields)[0], metadata]);
      assert.deepEqual(await get(`/v1/comparisons/${created.id}`), created);
      const vote = await post('/v1/preferences', { comparison: created.id, choice: 'a' });
      assert.deepEqual(vote.prompt, created.prompt);
      assert.deepEqual(await get(`/v1/preferences/${vote.id}`), vote);
      const { chosen, rejected } = vote;
      const again = await post('/v1/preferences', {
        chosen: chosen.generation,
        rejected: rejected.generation,
        rater: created.id,
      });
      assert.deepEqual((await get(`/v1/preferences/${again.id}`)).prompt, created.prompt);
    });
    await fc.assert(property, RUNS);
  });

  test('the texts of a chat completion', async () => {
    const body = json(
      fc.record({
        messages,
        metadata,
        user: arbitraryText({ maxLength: 512 }),
        stop: fc.array(arbitraryText({ maxLength: 512 }), { minLength: 1, maxLength: 4 }),
      }),
    );
    const property = fc.asyncProperty(body, async (fields) => {
      const created = await post('/v1/chat/completions', { ...fields, model, max_tokens: 2 });
      assert.deepEqual(created.metadata, fields.metadata);
      assert.deepEqual(await get(`/v1/chat/completions/${created.id}`), created);
      const [row] = await selectGenerations(db).where(eq(generations.id, created.id));
      const { prompt, user, metadata, sampling } = row!;
      assert.deepEqual({ messages: prompt, user, metadata, stop: sampling.stop }, fields);
    });
    await fc.assert(property, RUNS);
  });

  test('the texts of imported rows, which are exported and imported again', async () => {
    const exportRows = async (raters: (rater: string) => boolean): Promise<Json[]> => {
      const { text } = await api.request('/v1/preferences/export?format=trl');
      const rows = text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
      return rows.filter(({ rater }) => raters(rater));
    };
    const importRows = async (rows: object[]) => {
      const body = rows.map((row) => JSON.stringify(row)).join('\n');
      const report = await api.request('/v1/preferences/import', { method: 'POST', body });
      assert.deepEqual([report.body.imported, report.body.refused], [rows.length, 0], report.text);
    };
    const tag = `${api.runtime} ${crypto.randomUUID()}`;
    const rows = fc
      .sample(fc.tuple(visible, sides, raterName), IMPORTED)
      .map(([prompt, sides, rater], at) => ({ prompt, ...sides, rater: `${tag} ${at} ${rater}` }));
    await importRows(rows);
    const exported = await exportRows((rater) => rater.startsWith(tag));
    assert.deepEqual(
      exported.map(({ id, ...row }) => row),
      rows,
    );
    await importRows(exported.map((row) => ({ ...row, rater: `again ${row.rater}` })));
    const again = await exportRows((rater) => rater.startsWith(`again ${tag}`));
    assert.deepEqual(
      again.map(({ id, ...row }) => row),
      rows.map((row) => ({ ...row, rater: `again ${row.rater}` })),
    );
  });

  test('a key that validation would drop is refused', async () => {
    const body = '{"prompt": "Q", "chosen": "x", "rejected": "y", "metadata": {"__proto__": "z"}}';
    const response = await api.request('/v1/preferences', { method: 'POST', body });
    assertError(response, 400);
    assert.equal(response.body.error.param, 'metadata.__proto__');
  });

  test('a very long text', async () => {
    const [long] = fc.sample(fc.string({ unit: 'binary', minLength: LONG, maxLength: LONG, size: 'max' }), 1);
    const sent = { rater: api.runtime, prompt: long!.replaceAll('\0', ''), chosen: '0', rejected: 'null' };
    const { id } = await post('/v1/preferences', sent);
    assert.equal((await get(`/v1/preferences/${id}`)).prompt, sent.prompt);
  });
}
