import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Tensor } from 'onnxruntime-node';
import { Decoder } from '../../shared/decoder/decoder.ts';
import { openSession } from '../../shared/decoder/session.ts';
import {
  collectEvents,
  collectResults,
  countPromptTokens,
  drain,
  generateAlone,
  makePrompt,
  makeRequest,
  makeScheduler,
  openDecoder,
} from '../../testing/engine.ts';
import { makeTempFolder, writeTinyPackage } from '../../testing/policy-package.ts';
import { CHUNK_TOKENS } from './chunking.ts';

const folder = await makeTempFolder();
await writeTinyPackage(folder.path, { contextLength: 320, seed: 2 });
const decoder = await openDecoder(folder.path);
after(async () => {
  await decoder.release();
  await folder.remove();
});

test('decoding with the KV cache gives the same tokens as recomputing every prefix', async () => {
  const promptIds = makePrompt(9, 1);
  const cached = (await generateAlone(decoder, { promptIds, sampling: { maxTokens: 40 } })).get('1:0')!.tokenIds;
  const ids = [...promptIds];
  for (let i = 0; i < 40; i++) {
    const cache = decoder.createCache();
    cache.addRow();
    const { logits } = await decoder.forward(cache, [ids]);
    ids.push(logits.indexOf(Math.max(...logits)));
  }
  assert.deepEqual(cached, ids.slice(promptIds.length));
});

test('choices of one prompt differ, and each depends on its seed only', async () => {
  const promptIds = makePrompt(20, 3);
  const sampling = { temperature: 1, seed: 42, maxTokens: 20 };
  const three = await generateAlone(decoder, { promptIds, sampling, n: 3 });
  const again = await generateAlone(decoder, { promptIds, sampling, n: 3 });
  const one = await generateAlone(decoder, { promptIds, sampling });
  const other = await generateAlone(decoder, { promptIds, sampling: { ...sampling, seed: 43 } });
  assert.deepEqual(three, again);
  assert.deepEqual(three.get('1:0'), one.get('1:0'));
  assert.notDeepEqual(other.get('1:0'), one.get('1:0'));
  assert.equal(new Set([...three.values()].map(({ tokenIds }) => tokenIds.join())).size, 3);
});

test('more choices than rows are generated one after the other', async () => {
  const request = { promptIds: makePrompt(4, 1), sampling: { temperature: 1, maxTokens: 6 }, n: 5 };
  const scheduler = makeScheduler(decoder, { maxRows: 2 });
  scheduler.submit(makeRequest(request));
  const steps = await drain(scheduler);
  assert.deepEqual(collectResults(steps), await generateAlone(decoder, request));
  assert.ok(steps.every(({ stats }) => stats.decodedSequences <= 2));
  assert.deepEqual(countPromptTokens(steps), { prefilled: 4, cached: 16 });
});

test('log-probabilities are the policy’s, before temperature, bias and penalties', async () => {
  const promptIds = makePrompt(12, 5);
  const sampling = {
    temperature: 0.3,
    logitBias: { 50: 3 },
    frequencyPenalty: 1,
    seed: 9,
    maxTokens: 12,
    topLogprobs: 400,
  };
  const scheduler = makeScheduler(decoder);
  scheduler.submit(makeRequest({ promptIds, sampling }));
  const tokens = collectEvents(await drain(scheduler)).filter((event) => event.type === 'token');
  assert.equal(tokens.length, 12);
  const ids = [...promptIds];
  for (const { tokenId, logprob, topLogprobs } of tokens) {
    const cache = decoder.createCache();
    cache.addRow();
    const { logits } = await decoder.forward(cache, [ids]);
    const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    assert.ok(Math.abs(logits[tokenId]! - total - logprob) < 1e-4);
    const mass = topLogprobs.reduce((sum, top) => sum + Math.exp(top.logprob), 0);
    assert.ok(Math.abs(mass - 1) < 1e-4);
    ids.push(tokenId);
  }
});

test('a generation ends at the context length, or before an end-of-sequence token', async () => {
  const long = { promptIds: makePrompt(315, 2), sampling: { maxTokens: 100 } };
  const { tokenIds: few, finish } = (await generateAlone(decoder, long)).get('1:0')!;
  assert.deepEqual([few.length, finish], [5, 'length']);

  const request = { promptIds: makePrompt(9, 1), sampling: { maxTokens: 30 } };
  const { tokenIds } = (await generateAlone(decoder, request)).get('1:0')!;
  const end = tokenIds[7]!;
  const ending = await openDecoder(folder.path, { eos: [end] });
  const scheduler = makeScheduler(ending);
  scheduler.submit(makeRequest(request));
  const steps = await drain(scheduler);
  await ending.release();
  const last = collectEvents(steps).at(-1);
  assert.ok(last?.type === 'finish');
  assert.deepEqual([last.finishReason, last.stop?.tokenId], ['stop', end]);
  assert.deepEqual(collectResults(steps).get('1:0')!.tokenIds, tokenIds.slice(0, tokenIds.indexOf(end)));
});

test('the tokens of a given response get the log-probabilities that sampling them had, among other sequences too', async () => {
  const eos = Array.from({ length: 20 }, (_, at) => 40 + 3 * at);
  const ending = await openDecoder(folder.path, { eos });
  const session = await openSession(join(folder.path, 'onnx', 'serve.onnx'), 1);
  // As in a package whose graph computes the logits of one token only.
  const older = new Decoder(
    { inputMetadata: [], run: session.run.bind(session), release: () => session.release() },
    Tensor,
    ending.architecture,
  );
  assert.deepEqual([ending.scoresChunks, older.scoresChunks], [true, false]);
  const withoutEos: Record<number, number> = Object.fromEntries(eos.map((tokenId) => [tokenId, -100]));
  // The last response has more tokens than one chunk.
  const requests = [1, 2, 3].map((id) => ({
    id,
    promptIds: makePrompt(50 * id, id),
    sampling: { maxTokens: 170, temperature: 1, seed: id, logitBias: id === 3 ? withoutEos : {} },
  }));
  const scheduler = makeScheduler(ending);
  for (const request of requests) scheduler.submit(makeRequest(request));
  const steps = await drain(scheduler);
  const stops = collectEvents(steps).flatMap((event) => (event.type === 'finish' && event.stop ? [event] : []));
  assert.ok(stops.length > 0);

  for (const { id, promptIds } of requests) {
    const sampled = collectResults(steps).get(`${id}:0`)!;
    const stop = stops.find((event) => event.id === id)?.stop;
    const response = [...sampled.tokenIds, ...(stop ? [stop.tokenId] : [])];
    const expected = [...sampled.logprobs, ...(stop ? [stop.logprob] : [])];
    const request = { id, promptIds, response, sampling: { maxTokens: response.length } };
    for (const decoder of [ending, older]) {
      const scoring = makeScheduler(decoder);
      scoring.submit(makeRequest(request));
      scoring.submit(makeRequest({ id: 9, promptIds: makePrompt(5, 9), sampling: { maxTokens: 40 } }));
      const scored = collectResults(await drain(scoring)).get(`${id}:0`)!;
      assert.deepEqual(scored.tokenIds, response);
      for (const [at, logprob] of scored.logprobs.entries()) assert.ok(Math.abs(logprob - expected[at]!) < 1e-4);
      if (decoder === older) assert.deepEqual(scored.logprobs, expected);
      else assert.deepEqual(scored, (await generateAlone(decoder, request)).get(`${id}:0`));
    }
  }
  await ending.release();
  await older.release();
});

test('the prefix cache keeps the prompt of a scored response, not the response', async () => {
  const promptIds = makePrompt(130, 4);
  const cacheBytes = async (response?: number[]) => {
    const scheduler = makeScheduler(decoder);
    scheduler.submit(makeRequest({ promptIds, response, sampling: { maxTokens: response?.length ?? 1 } }));
    return (await drain(scheduler)).at(-1)!.stats.kvBytes;
  };
  assert.equal(await cacheBytes(makePrompt(150, 5)), await cacheBytes());
});

test('the prefix cache takes no more than its own limit', async () => {
  const scheduler = makeScheduler(decoder, { prefixCacheBytes: 40_000 });
  for (const id of [1, 2, 3])
    scheduler.submit(makeRequest({ id, promptIds: makePrompt(100, id), sampling: { maxTokens: 1 } }));
  const { kvBytes } = (await drain(scheduler)).at(-1)!.stats;
  assert.ok(kvBytes > 20_000 && kvBytes <= 40_000, `${kvBytes}`);
});

test('a cancelled choice emits no more events and does not change the others', async () => {
  const requests = [1, 2, 3, 4].map((id) => ({
    id,
    promptIds: makePrompt(10, id),
    sampling: { temperature: 1, maxTokens: 20 },
  }));
  const scheduler = makeScheduler(decoder, { maxRows: 3 });
  for (const request of requests) scheduler.submit(makeRequest(request));
  const before = [await scheduler.step(), await scheduler.step()];
  scheduler.cancel(2, 0);
  scheduler.cancel(4, 0);
  const next = await scheduler.step();
  assert.equal(next.stats.decodedSequences, 2, 'its row is free at the next step');
  const later = [next, ...(await drain(scheduler))];
  assert.ok(collectEvents(later).every(({ id }) => id === 1 || id === 3));
  const results = collectResults([...before, ...later]);
  for (const id of [1, 3]) {
    assert.deepEqual(results.get(`${id}:0`), (await generateAlone(decoder, requests[id - 1]!)).get(`${id}:0`));
  }
  assert.equal(results.get('4:0'), undefined);
});

test('a choice cancelled during its prefill does not decode', async () => {
  const scheduler = makeScheduler(decoder);
  scheduler.submit(makeRequest({ id: 1, promptIds: makePrompt(200, 1) }));
  const first = await scheduler.step();
  scheduler.cancel(1, 0);
  const steps = [first, ...(await drain(scheduler))];
  assert.deepEqual(
    collectEvents(steps).map(({ type }) => type),
    ['start'],
  );
  assert.ok(countPromptTokens(steps).prefilled < 200);
});

test('a prompt that the runtime rejects fails alone, even in a batch', async () => {
  const scheduler = makeScheduler(decoder);
  const sampling = { maxTokens: 8 };
  for (const [i, promptIds] of [makePrompt(10, 1), [1, 999_999], makePrompt(12, 2)].entries()) {
    scheduler.submit(makeRequest({ id: i + 1, promptIds, sampling }));
  }
  const results = collectResults(await drain(scheduler));
  assert.match(results.get('2:0')!.finish, /indices|range|bound/i);
  for (const [key, promptIds] of [
    ['1:0', makePrompt(10, 1)],
    ['3:0', makePrompt(12, 2)],
  ] as const) {
    assert.deepEqual(results.get(key), (await generateAlone(decoder, { promptIds, sampling })).get('1:0'));
  }
});

test('between two chunks of a long prompt, sequences decode and short prompts are prefilled', async () => {
  const scheduler = makeScheduler(decoder);
  scheduler.submit(makeRequest({ id: 1, promptIds: makePrompt(5, 1), sampling: { maxTokens: 60 } }));
  await scheduler.step();
  scheduler.submit(makeRequest({ id: 2, promptIds: makePrompt(2 * CHUNK_TOKENS + 20, 2), sampling: { maxTokens: 2 } }));
  scheduler.submit(makeRequest({ id: 3, promptIds: makePrompt(9, 3), sampling: { maxTokens: 2 } }));
  const steps = await drain(scheduler);
  const chunks = steps.filter(({ stats }) => stats.prefilledTokens > 0);
  assert.ok(chunks.length >= 4);
  for (const { events, stats } of chunks) {
    assert.ok(stats.prefilledTokens <= CHUNK_TOKENS);
    assert.ok(events.some(({ id, type }) => id === 1 && type === 'token'));
  }
  const findFirstToken = (requestId: number) =>
    steps.findIndex(({ events }) => events.some(({ id, type }) => id === requestId && type === 'token'));
  assert.ok(findFirstToken(3) <= 1, `the short prompt's first token came after ${findFirstToken(3)} steps`);
  assert.ok(findFirstToken(2) > findFirstToken(3));
});

test('short prompts that arrive together are prefilled in one run', async () => {
  const scheduler = makeScheduler(decoder);
  for (let id = 1; id <= 5; id++) scheduler.submit(makeRequest({ id, promptIds: makePrompt(6 + id, id) }));
  const { events, stats } = await scheduler.step();
  assert.equal(stats.prefilledTokens, 7 + 8 + 9 + 10 + 11);
  assert.equal(events.filter(({ type }) => type === 'token').length, 10, 'each has its first and its second token');
});

test('tenants take turns, regardless of how many choices each requests', async () => {
  const scheduler = makeScheduler(decoder, { maxRows: 1 });
  const sampling = { maxTokens: 2 };
  for (let id = 1; id <= 4; id++) {
    scheduler.submit(makeRequest({ id, tenant: 'busy', promptIds: makePrompt(5, id), sampling, n: 2 }));
  }
  scheduler.submit(makeRequest({ id: 9, tenant: 'modest', promptIds: makePrompt(5, 9), sampling }));
  const starts = collectEvents(await drain(scheduler)).filter(({ type }) => type === 'start');
  assert.deepEqual(
    starts.map(({ id, index }) => `${id}:${index}`),
    ['1:0', '9:0', '1:1', '2:0', '2:1', '3:0', '3:1', '4:0', '4:1'],
  );
});

test('a tenant with long generations leaves a row in eight to tenants that have none, and none if nobody shares', async () => {
  const sampling = { maxTokens: 200 };
  for (const [isShared, rows] of [
    [true, 14],
    [false, 16],
  ] as const) {
    const scheduler = makeScheduler(decoder, { isShared });
    scheduler.submit(makeRequest({ id: 1, tenant: 'long', promptIds: makePrompt(5, 1), sampling, n: 30 }));
    for (let step = 0; step < 20; step++) await scheduler.step();
    assert.equal((await scheduler.step()).stats.running, rows);
    for (const id of [2, 3])
      scheduler.submit(
        makeRequest({ id, tenant: `brief ${id}`, promptIds: makePrompt(5, id), sampling: { maxTokens: 3 } }),
      );
    const events = [];
    for (let step = 0; step < 5; step++) events.push(...(await scheduler.step()).events);
    const finished = events.filter(({ id, type }) => id > 1 && type === 'finish');
    assert.equal(finished.length, isShared ? 2 : 0);
    for (let index = 0; index < 30; index++) scheduler.cancel(1, index);
    await drain(scheduler);
  }
});
