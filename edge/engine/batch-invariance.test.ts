// Batch invariance: tokens and log-probabilities of a generation are bitwise equal whichever sequences share its batch,
// however its prompt was batched for prefill, and whether or not a prefix of its prompt was cached.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { PRECISION_NAMES } from '../../shared/precision-name.ts';
import {
  collectResults,
  countPromptTokens,
  drain,
  generateAlone,
  makePrompt,
  makeRequest,
  makeScheduler,
  openDecoder,
} from '../../testing/engine.ts';
import { makeTempFolder, writeStoriesPackage, writeTinyPackage } from '../../testing/policy-package.ts';
import { CHUNK_TOKENS } from './chunking.ts';
import type { StepResult } from './scheduler.ts';

const folder = await makeTempFolder();
after(folder.remove);

/** Every precision, each also with real weights, whose larger sums are split differently by the kernels. */
const packages = [
  ...PRECISION_NAMES.map((precision) => ({
    name: `${precision}`,
    write: (path: string) => writeTinyPackage(path, { contextLength: 320, seed: 2, precision }),
  })),
  // Families whose graphs contain operators that Llama's does not.
  ...(['gpt2', 'gpt_neox', 'qwen3'] as const).map((family) => ({
    name: family,
    write: (path: string) => writeTinyPackage(path, { family, contextLength: 320, seed: 2, precision: 'row8' }),
  })),
  ...PRECISION_NAMES.map((precision) => ({
    name: `stories15M at ${precision}`,
    write: (path: string) => writeStoriesPackage(path, precision),
  })),
];

for (const { name, write } of packages) {
  const path = join(folder.path, name);
  await write(path);
  const decoder = await openDecoder(path, {}, 2);
  after(() => decoder.release());

  test(`${name}: a generation is the same alone and in a batch with fifteen others that join and leave`, async () => {
    const lengths = [5, 60, 3, 130, 63, 200, 64, 17, 1, 65, 33, 129, 2, 90, 128, 48];
    const requests = lengths.map((length, i) => ({
      id: i + 1,
      promptIds: makePrompt(length, i),
      sharedLengths: i % 3 === 0 ? [Math.floor(length / 2)] : [],
      sampling: { maxTokens: 24 + 2 * i, temperature: i % 2, seed: i, topP: 0.95 },
    }));
    const scheduler = makeScheduler(decoder);
    const steps: StepResult[] = [];
    for (const request of requests) {
      scheduler.submit(makeRequest(request));
      if (request.id % 3 === 0) steps.push(await scheduler.step());
    }
    steps.push(...(await drain(scheduler)));
    assert.ok(steps.some(({ stats }) => stats.decodedSequences === 16));
    const together = collectResults(steps);
    for (const request of requests) {
      const alone = (await generateAlone(decoder, request)).get(`${request.id}:0`)!;
      assert.equal(alone.tokenIds.length, request.sampling.maxTokens);
      assert.deepEqual(together.get(`${request.id}:0`), alone, `a prompt of ${request.promptIds.length} tokens`);
    }
  });

  test(`${name}: prompts prefilled in one padded batch give the same logits as each alone`, async () => {
    const compute = async (prompts: number[][]) => {
      const cache = decoder.createCache();
      for (const _ of prompts) cache.addRow();
      return decoder.prefill(cache, prompts);
    };
    for (const lengths of [
      [1, 2],
      [5, 16, 3],
      [7, 8, 9, 15, 17],
      [31, 33, 32],
      [64, 1, 40],
      [20, 20],
    ]) {
      const prompts = lengths.map((length, i) => makePrompt(length, i));
      const together = await compute(prompts);
      for (const [i, prompt] of prompts.entries()) {
        assert.deepEqual(together[i], (await compute([prompt]))[0], `${prompt.length} tokens among ${lengths}`);
      }
    }
  });

  test(`${name}: a prompt with a cached prefix gives the same generation as without`, async () => {
    const system = makePrompt(140, 1);
    const makeQuestion = (seed: number, length: number) => [...system, ...makePrompt(length, seed)];
    const requests = [
      { id: 1, promptIds: makeQuestion(2, 30), sharedLengths: [140] },
      { id: 2, promptIds: makeQuestion(3, 90), sharedLengths: [140] },
      { id: 3, promptIds: makeQuestion(2, 30), sharedLengths: [140] },
      { id: 4, promptIds: makeQuestion(2, 30) },
      { id: 5, promptIds: [...makeQuestion(3, 90), ...makePrompt(5, 4)], sharedLengths: [140] },
      { id: 6, promptIds: system.slice(0, CHUNK_TOKENS) },
    ].map((request) => ({ ...request, sampling: { maxTokens: 10, temperature: 1, seed: 3 } }));
    const scheduler = makeScheduler(decoder);
    const cachedTokens: number[] = [];
    for (const request of requests) {
      scheduler.submit(makeRequest(request));
      const steps = await drain(scheduler);
      cachedTokens.push(countPromptTokens(steps).cached);
      assert.deepEqual(collectResults(steps), await generateAlone(decoder, request), `request ${request.id}`);
    }
    assert.deepEqual(cachedTokens, [0, 140, 170, CHUNK_TOKENS, 140, CHUNK_TOKENS]);
  });
}
