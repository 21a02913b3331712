// Generations with a grammar, through scheduler and decoder.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { collectEvents, collectResults, drain, makeRequest, makeScheduler, openDecoder } from '../../testing/engine.ts';
import { jsonSchemas, type Schema } from '../../testing/json-schemas.ts';
import { makeTempFolder, writeTinyPackage } from '../../testing/policy-package.ts';
import { Constraints } from '../grammar/constraint.ts';
import { compileJsonSchema } from '../grammar/json-schema.ts';
import type { Grammar } from '../grammar/program.ts';

const folder = await makeTempFolder();
after(folder.remove);
await writeTinyPackage(folder.path, { contextLength: 512, seed: 5 });
const tokenizer = await Tokenizer.open(folder.path);
const tokenBytes = tokenizer.listTokenBytes();
const [withoutEos, withEos] = [await openDecoder(folder.path), await openDecoder(folder.path, { eos: [2] })];
after(() => Promise.all([withoutEos.release(), withEos.release()]));

const PROMPT = tokenizer.encode('Once upon a time');
/** A random policy does not close what it opens. */
const CLOSING = Object.fromEntries(
  [...tokenBytes.keys()].filter((token) => ['"', '}', ']'].includes(tokenBytes[token]!)).map((token) => [token, 4]),
);
const SAMPLING = { maxTokens: 400, temperature: 1, logitBias: CLOSING };
const PERSON = compileJsonSchema(
  {
    type: 'object',
    properties: {
      name: { type: 'string', minLength: 1, maxLength: 8 },
      age: { type: 'integer', minimum: 0, maximum: 120 },
      tags: { type: 'array', items: { enum: ['a', 'b'] }, maxItems: 3 },
    },
    required: ['name', 'age', 'tags'],
  },
  'schema',
);

const open = (decoder = withEos, bytes = tokenBytes) =>
  makeScheduler(decoder, { constraints: new Constraints(decoder.architecture, () => bytes) });
const decode = (ids: number[]) => tokenizer.decodeContinuation(PROMPT, ids);

async function generate(grammar: Grammar, sampling: object, decoder = withEos) {
  const scheduler = open(decoder);
  scheduler.submit(makeRequest({ promptIds: PROMPT, grammar, sampling: { ...SAMPLING, ...sampling } }));
  const steps = await drain(scheduler);
  const { tokenIds, logprobs, finish } = collectResults(steps).get('1:0')!;
  const end = collectEvents(steps).find((event) => event.type === 'finish');
  return { tokenIds, logprobs, text: decode(tokenIds), finish, stop: end?.type === 'finish' ? end.stop : null };
}

test('every finished text of a random schema satisfies it', async () => {
  let finished = 0;
  const check = async (schema: Schema, seed: number) => {
    const { text, finish } = await generate(compileJsonSchema(schema, 'schema'), { seed });
    if (finish === 'length') return;
    assert.equal(finish, 'stop');
    finished++;
    // zod counts UTF-16 units, and JSON Schema code points.
    const value = JSON.parse(JSON.stringify(JSON.parse(text)).replaceAll(/[\u{10000}-\u{10ffff}]/gu, '漢'));
    const result = z.fromJSONSchema(schema).safeParse(value);
    assert.ok(result.success, `${text}: ${result.error?.message}`);
  };
  await fc.assert(fc.asyncProperty(jsonSchemas, fc.nat(), check), { numRuns: 60 });
  assert.ok(finished > 30, `${finished} finished`);
});

test('a text ends with the end-of-sequence token when it is complete, not before, and recorded as the policy’s', async () => {
  for (let seed = 0; seed < 10; seed++) {
    const { text, finish, stop } = await generate(PERSON, { seed });
    assert.equal(finish, 'stop');
    assert.ok(JSON.parse(text).age <= 120);
    assert.equal(stop?.tokenId, 2);
    // Only this token was allowed; under the policy it was one of many.
    assert.ok(stop.logprob < -0.5);
  }
  assert.equal((await generate(PERSON, { logitBias: { ...CLOSING, 2: -100 } })).stop?.tokenId, 2);
});

test('a policy without end-of-sequence tokens stops where the text cannot go on', async () => {
  const { text, finish, stop } = await generate(PERSON, {}, withoutEos);
  assert.ok(JSON.parse(text));
  assert.deepEqual([finish, stop], ['stop', null]);
});

test('max_tokens ends a text early', async () => {
  const { tokenIds, finish } = await generate(PERSON, { maxTokens: 5 });
  assert.deepEqual([tokenIds.length, finish], [5, 'length']);
});

test('log-probabilities are those of the policy without the grammar', async () => {
  const { tokenIds, logprobs } = await generate(PERSON, { temperature: 0.8, topP: 0.9 });
  const scheduler = open();
  scheduler.submit(makeRequest({ promptIds: PROMPT, response: tokenIds, sampling: { maxTokens: tokenIds.length } }));
  const scored = collectResults(await drain(scheduler)).get('1:0')!.logprobs;
  for (const [at, logprob] of logprobs.entries()) assert.ok(Math.abs(logprob - scored[at]!) < 1e-4, `token ${at}`);
});

test('a constrained generation is the same alone and in a batch with other grammars and none', async () => {
  const grammars = [
    PERSON,
    undefined,
    compileJsonSchema({ type: 'object' }, 'schema'),
    compileJsonSchema({ enum: ['one', 'two'] }, 'schema'),
  ];
  const requests = Array.from({ length: 12 }, (_, at) => ({
    id: at + 1,
    n: 1 + (at % 2),
    promptIds: at % 3 === 0 ? PROMPT : tokenizer.encode('The day was'),
    sharedLengths: [at % 3],
    grammar: grammars[at % 4],
    sampling: { ...SAMPLING, maxTokens: 60, seed: at, temperature: at % 5 === 0 ? 0 : 1, topP: at % 2 ? 0.9 : 1 },
  }));
  const together = open();
  for (const request of requests) together.submit(makeRequest(request));
  const results = collectResults(await drain(together));
  for (const request of requests) {
    const alone = open();
    alone.submit(makeRequest(request));
    for (const [key, result] of collectResults(await drain(alone))) assert.deepEqual(results.get(key), result, key);
  }
});

test('a grammar that the tokens cannot spell fails its own request only', async () => {
  const bytes = tokenBytes.map((text) => (text?.includes('}') ? null : text));
  const scheduler = open(withEos, bytes);
  scheduler.submit(makeRequest({ id: 1, promptIds: PROMPT, grammar: PERSON }));
  scheduler.submit(makeRequest({ id: 2, promptIds: PROMPT }));
  const steps = await drain(scheduler);
  const failed = collectEvents(steps).find((event) => event.type === 'failed');
  assert.ok(failed?.type === 'failed' && failed.id === 1);
  assert.deepEqual(failed.details, { status: 400, param: 'response_format', code: 'unsupported_schema' });
  assert.match(collectResults(steps).get('2:0')!.finish, /stop|length/);
});
