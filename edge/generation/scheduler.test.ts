import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { Decoder } from '../../shared/decoder/decoder.ts';
import type { Sampling } from '../../shared/decoder/sampling.ts';
import { readArchitecture } from '../../shared/policy/checkpoint.ts';
import { type JobEvent, Scheduler } from './scheduler.ts';
import { chooseSampling, makeFolder, writeTinyPackage } from './tiny-package.ts';

const folder = await makeFolder();
await writeTinyPackage(folder.path, { contextLength: 320, seed: 2 });
const architecture = { ...(await readArchitecture(folder.path)), eos: [] };
const session = await InferenceSession.create(join(folder.path, 'onnx', 'serve.onnx'), { logSeverityLevel: 4 });
const decoder = new Decoder(session, Tensor, architecture);
after(async () => {
  await decoder.release();
  await folder.remove();
});

const makePrompt = (length: number, seed: number) =>
  Array.from({ length }, (_, i) => (i === 0 ? 1 : 3 + ((i * 7919 + seed * 104729) % 330)));

type Answer = { tokenIds: number[]; logprobs: number[]; finish: string };

function gather(events: JobEvent[]): Map<string, Answer> {
  const answers = new Map<string, Answer>();
  for (const event of events) {
    const key = `${event.id}:${event.index}`;
    const answer = answers.get(key) ?? { tokenIds: [], logprobs: [], finish: '' };
    answers.set(key, answer);
    if (event.type === 'token') {
      answer.tokenIds.push(event.tokenId);
      answer.logprobs.push(event.logprob);
    } else answer.finish = event.type === 'finish' ? event.finish : event.message;
  }
  return answers;
}

async function drain(scheduler: Scheduler): Promise<JobEvent[]> {
  const events: JobEvent[] = [];
  while (!scheduler.isIdle) events.push(...(await scheduler.step()));
  return events;
}

async function answer(promptIds: number[], sampling: Partial<Sampling> = {}, n = 1) {
  const scheduler = new Scheduler(decoder, 8);
  scheduler.submit({ id: 1, promptIds, sampling: chooseSampling(sampling), n });
  return gather(await drain(scheduler));
}

test('decoding with the cache gives the ids of computing everything anew for each token', async () => {
  const promptIds = makePrompt(9, 1);
  const cached = (await answer(promptIds, { maxTokens: 40 })).get('1:0')!.tokenIds;
  const ids = [...promptIds];
  for (let i = 0; i < 40; i++) {
    const cache = decoder.createCache();
    cache.addRow();
    const { logits } = await decoder.run(cache, [ids]);
    ids.push(logits.indexOf(Math.max(...logits)));
  }
  assert.deepEqual(cached, ids.slice(promptIds.length));
});

test('a generation is the same to the last bit beside others that join and leave, whatever their lengths', async () => {
  const jobs = [5, 60, 3, 130, 63, 200, 64, 17].map((length, i) => ({
    id: i + 1,
    promptIds: makePrompt(length, i),
    sampling: chooseSampling({ maxTokens: 10 + 9 * i, temperature: i % 2, seed: i, topP: 0.95 }),
    n: 1,
  }));
  const scheduler = new Scheduler(decoder, 5);
  const events: JobEvent[] = [];
  for (const job of jobs) {
    scheduler.submit(job);
    for (let i = 0; i < 4; i++) events.push(...(await scheduler.step()));
  }
  events.push(...(await drain(scheduler)));
  const together = gather(events);
  for (const job of jobs) {
    const alone = (await answer(job.promptIds, job.sampling)).get('1:0')!;
    assert.equal(alone.tokenIds.length, job.sampling.maxTokens);
    assert.deepEqual(together.get(`${job.id}:0`), alone);
  }
});

test('choices of one prompt differ from each other, and each is what its seed says', async () => {
  const promptIds = makePrompt(20, 3);
  const sampling = { temperature: 1, seed: 42, maxTokens: 20 };
  const three = await answer(promptIds, sampling, 3);
  const again = await answer(promptIds, sampling, 3);
  const one = await answer(promptIds, sampling, 1);
  const other = await answer(promptIds, { ...sampling, seed: 43 }, 1);
  assert.deepEqual(three, again);
  assert.deepEqual(three.get('1:0'), one.get('1:0'));
  assert.notDeepEqual(other.get('1:0'), one.get('1:0'));
  assert.equal(new Set([...three.values()].map(({ tokenIds }) => tokenIds.join())).size, 3);
});

test('more choices than rows are generated one after the other', async () => {
  const scheduler = new Scheduler(decoder, 2);
  const sampling = chooseSampling({ temperature: 1, maxTokens: 6 });
  scheduler.submit({ id: 1, promptIds: makePrompt(4, 1), sampling, n: 5 });
  const answers = gather(await drain(scheduler));
  const wide = await answer(makePrompt(4, 1), { temperature: 1, maxTokens: 6 }, 5);
  assert.deepEqual(answers, wide);
});

test('log-probabilities are the policy’s own, whatever temperature, bias and penalties do', async () => {
  const promptIds = makePrompt(12, 5);
  const shaped = {
    temperature: 0.3,
    logitBias: { 50: 3 },
    frequencyPenalty: 1,
    seed: 9,
    maxTokens: 12,
    topLogprobs: 400,
  };
  const scheduler = new Scheduler(decoder, 1);
  scheduler.submit({ id: 1, promptIds, sampling: chooseSampling(shaped), n: 1 });
  const tokens = (await drain(scheduler)).filter((event) => event.type === 'token');
  const ids = [...promptIds];
  for (const { tokenId, logprob, topLogprobs } of tokens) {
    const cache = decoder.createCache();
    cache.addRow();
    const { logits } = await decoder.run(cache, [ids]);
    const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    assert.ok(Math.abs(logits[tokenId]! - total - logprob) < 1e-4);
    const mass = topLogprobs.reduce((sum, top) => sum + Math.exp(top.logprob), 0);
    assert.ok(Math.abs(mass - 1) < 1e-4);
    ids.push(tokenId);
  }
});

test('a generation ends with the context, and with an end token that is not part of it', async () => {
  const long = (await answer(makePrompt(315, 2), { maxTokens: 100 })).get('1:0')!;
  assert.equal(long.tokenIds.length, 5);
  assert.equal(long.finish, 'length');

  const { tokenIds } = (await answer(makePrompt(9, 1), { maxTokens: 30 })).get('1:0')!;
  const end = tokenIds[7]!;
  const ending = new Scheduler(new Decoder(session, Tensor, { ...architecture, eos: [end] }), 2);
  ending.submit({ id: 1, promptIds: makePrompt(9, 1), sampling: chooseSampling({ maxTokens: 30 }), n: 1 });
  const events = await drain(ending);
  assert.deepEqual(events.at(-1), { type: 'finish', id: 1, index: 0, finish: 'stop', stopToken: end });
  assert.deepEqual(gather(events).get('1:0')!.tokenIds, tokenIds.slice(0, tokenIds.indexOf(end)));
});

test('a cancelled choice is silent at once and changes nothing for the others', async () => {
  const scheduler = new Scheduler(decoder, 3);
  const sampling = chooseSampling({ temperature: 1, maxTokens: 20 });
  for (let id = 1; id <= 4; id++) scheduler.submit({ id, promptIds: makePrompt(10, id), sampling, n: 1 });
  const before = [...(await scheduler.step()), ...(await scheduler.step())];
  scheduler.cancel(2, 0);
  scheduler.cancel(4, 0);
  const later = await drain(scheduler);
  assert.ok(later.every(({ id }) => id === 1 || id === 3));
  const answers = gather([...before, ...later]);
  for (const id of [1, 3]) {
    assert.deepEqual(answers.get(`${id}:0`), (await answer(makePrompt(10, id), sampling)).get('1:0'));
  }
  assert.equal(answers.get('4:0'), undefined);
});

test('a prompt that the runtime refuses fails alone', async () => {
  const scheduler = new Scheduler(decoder, 3);
  const sampling = chooseSampling({ maxTokens: 8 });
  scheduler.submit({ id: 1, promptIds: makePrompt(10, 1), sampling, n: 1 });
  scheduler.submit({ id: 2, promptIds: [1, 999_999], sampling, n: 1 });
  const answers = gather(await drain(scheduler));
  assert.equal(answers.get('1:0')!.finish, 'length');
  assert.match(answers.get('2:0')!.finish, /indices|range|bound/i);
});
