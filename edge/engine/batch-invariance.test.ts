// A generation is the same to the last bit, tokens and log-probabilities, whoever decodes beside it, however its prompt
// was joined with others, and whether or not the beginning of its prompt was known.
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

/** Each way that a policy can be served, and a real one, because sums of other lengths are cut in other places. */
const packages = [
  ...PRECISION_NAMES.map((precision) => ({
    name: `${precision}`,
    write: (path: string) => writeTinyPackage(path, { contextLength: 320, seed: 2, precision }),
  })),
  // The families whose graphs have operators that a Llama's has not.
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

  test(`${name}: a generation is the same alone and among fifteen others that join and leave`, async () => {
    const lengths = [5, 60, 3, 130, 63, 200, 64, 17, 1, 65, 33, 129, 2, 90, 128, 48];
    const jobs = lengths.map((length, i) => ({
      id: i + 1,
      promptIds: makePrompt(length, i),
      sharedLength: i % 3 === 0 ? Math.floor(length / 2) : 0,
      sampling: { maxTokens: 24 + 2 * i, temperature: i % 2, seed: i, topP: 0.95 },
    }));
    const scheduler = makeScheduler(decoder);
    const turns: StepResult[] = [];
    for (const job of jobs) {
      scheduler.submit(makeRequest(job));
      if (job.id % 3 === 0) turns.push(await scheduler.step());
    }
    turns.push(...(await drain(scheduler)));
    assert.ok(turns.some(({ stats: report }) => report.decodedSequences === 16));
    const together = collectResults(turns);
    for (const job of jobs) {
      const alone = (await generateAlone(decoder, job)).get(`${job.id}:0`)!;
      assert.equal(alone.tokenIds.length, job.sampling.maxTokens);
      assert.deepEqual(together.get(`${job.id}:0`), alone, `a prompt of ${job.promptIds.length} tokens`);
    }
  });

  test(`${name}: prompts computed in one padded run are what each is alone`, async () => {
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

  test(`${name}: a prompt whose beginning is known gives what it gives when nothing is known`, async () => {
    const system = makePrompt(140, 1);
    const ask = (seed: number, length: number) => [...system, ...makePrompt(length, seed)];
    const jobs = [
      { id: 1, promptIds: ask(2, 30), sharedLength: 140 },
      { id: 2, promptIds: ask(3, 90), sharedLength: 140 },
      { id: 3, promptIds: ask(2, 30), sharedLength: 140 },
      { id: 4, promptIds: ask(2, 30) },
      { id: 5, promptIds: [...ask(3, 90), ...makePrompt(5, 4)], sharedLength: 140 },
      { id: 6, promptIds: system.slice(0, CHUNK_TOKENS) },
    ].map((job) => ({ ...job, sampling: { maxTokens: 10, temperature: 1, seed: 3 } }));
    const scheduler = makeScheduler(decoder);
    const known: number[] = [];
    for (const job of jobs) {
      scheduler.submit(makeRequest(job));
      const turns = await drain(scheduler);
      known.push(countPromptTokens(turns).cached);
      assert.deepEqual(collectResults(turns), await generateAlone(decoder, job), `job ${job.id}`);
    }
    assert.deepEqual(known, [0, 140, 170, CHUNK_TOKENS, 140, CHUNK_TOKENS]);
  });
}
