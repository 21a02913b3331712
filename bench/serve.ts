// Serving speed of the default policy, ours against transformers.js (the same runtime, the same package, float32, the
// same threads), interleaved. `npm run bench:serve`; the result is a ratio, because the machine's own speed varies.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { env, pipeline } from '@huggingface/transformers';
import { openInference } from '../edge/generation/slots.ts';
import { readCheckpoint } from '../shared/policy/checkpoint.ts';
import { writePolicyGraphs } from '../shared/policy/graph.ts';
import { writeDefaultCheckpoint } from '../shared/policy/llama2c.ts';

const PROMPT = 'Once upon a time';
const TOKENS = 128;
const REPEATS = 3;
const THREADS = 2;

const home = await mkdtemp(path.join(tmpdir(), 'attune-bench-'));
const folder = path.join(home, 'stories15M');
await writeDefaultCheckpoint(folder);
const { architecture, weights } = await readCheckpoint(folder);
await writePolicyGraphs(folder, architecture, weights);

const inference = openInference({ folderOf: async () => folder, threads: THREADS });
await inference.activate('stories15M');
const policy = inference.active()!;

async function ours(streams: number): Promise<number> {
  const sampling = {
    maxTokens: TOKENS,
    temperature: 0,
    topP: 1,
    topK: 0,
    minP: 0,
    frequencyPenalty: 0,
    presencePenalty: 0,
    // The end of a story would end the measurement early.
    logitBias: { 1: -100, 2: -100 },
    seed: 1,
    stop: [],
    topLogprobs: 0,
  };
  const started = performance.now();
  let tokens = 0;
  const promptIds = policy.tokenizer.encode(PROMPT);
  for await (const event of policy.generate({ promptIds, n: streams, sampling })) if (event.type === 'token') tokens++;
  return tokens / ((performance.now() - started) / 1000);
}

env.allowRemoteModels = false;
env.localModelPath = home;
const generator = await pipeline('text-generation', 'stories15M', {
  dtype: 'fp32',
  session_options: { intraOpNumThreads: THREADS },
});

async function theirs(streams: number): Promise<number> {
  const prompts = Array.from({ length: streams }, () => PROMPT);
  const started = performance.now();
  await generator(prompts, { max_new_tokens: TOKENS, min_new_tokens: TOKENS, do_sample: false });
  return (streams * TOKENS) / ((performance.now() - started) / 1000);
}

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!;
console.log(
  `stories15M, float32, ${THREADS} threads, prompt of 5 tokens, ${TOKENS} greedy tokens, median of ${REPEATS}`,
);
console.log('streams   attune tok/s   transformers.js tok/s   ratio');
for (const streams of [1, 4, 8, 16]) {
  const runs: { ours: number; theirs: number }[] = [];
  await ours(streams);
  await theirs(streams);
  for (let repeat = 0; repeat < REPEATS; repeat++)
    runs.push({ ours: await ours(streams), theirs: await theirs(streams) });
  const [a, b] = [median(runs.map((run) => run.ours)), median(runs.map((run) => run.theirs))];
  console.log(
    `${String(streams).padStart(7)}   ${a.toFixed(0).padStart(12)}   ${b.toFixed(0).padStart(21)}   ${(a / b).toFixed(2).padStart(5)}`,
  );
}
const { rss } = process.memoryUsage();
console.log(`peak memory of both together: ${(rss / 2 ** 20).toFixed(0)} MiB resident`);
await inference.close();
await rm(home, { recursive: true, force: true });
process.exit(0);
