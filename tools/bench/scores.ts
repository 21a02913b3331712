// What scoring given responses costs, and how far the log-ratios of two quantized policies are from those at float32.
//
//   node tools/bench/scores.ts FOLDER PRECISION      FOLDER: a checkpoint in Hugging Face layout
//
// The second policy is the first with noise of rank one in every matrix, which changes it about as much as a round does.

import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { writePolicyGraphs } from '../../shared/onnx/write-graphs.ts';
import { PRECISION_NAMES, type PrecisionName } from '../../shared/precision-name.ts';
import { mulberry32 } from '../../shared/random.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { collectResults, drain, makeRequest, makeScheduler, openDecoder } from '../../testing/engine.ts';

const [source = '', precision = ''] = process.argv.slice(2);
if (!PRECISION_NAMES.includes(precision as PrecisionName)) throw new Error('usage: scores.ts FOLDER PRECISION');
const [ROWS, TOKENS, NOISE] = [16, 64, 0.05];

/** W + σ(W) · NOISE · u vᵀ for each matrix W, with normal u and v. */
function perturb(weights: Weights): void {
  const uniform = mulberry32(1);
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  for (const [name, { shape, data }] of weights) {
    const [out, into] = shape;
    if (into === undefined || /embed|lm_head/.test(name)) continue;
    const scale = NOISE * Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length);
    const [u, v] = [out!, into].map((length) => Float32Array.from({ length }, normal));
    for (let i = 0; i < data.length; i++) data[i]! += scale * u![Math.floor(i / into)]! * v![i % into]!;
  }
}

async function writePolicy(folder: string, isTrained: boolean, name: PrecisionName): Promise<string> {
  const target = join(folder, `${isTrained ? 'trained' : 'reference'} ${name}`);
  const files = (await readdir(source)).filter((file) => !file.endsWith('.safetensors'));
  for (const file of files) await cp(join(source, file), join(target, file), { recursive: true });
  const { architecture, weights } = await readCheckpoint(source);
  if (isTrained) perturb(weights);
  await writePolicyGraphs(target, architecture, weights, name);
  return target;
}

/** Runs requests on the policy in `folder`; returns each row's tokens and the sum of its log-probabilities. */
async function run(folder: string, label: string, promptIds: number[], responses?: number[][]) {
  const decoder = await openDecoder(folder, {}, undefined);
  const scheduler = makeScheduler(decoder);
  const sampling = { maxTokens: TOKENS, temperature: 1, seed: 1 };
  if (!responses) scheduler.submit(makeRequest({ promptIds, n: ROWS, sampling }));
  for (const [id, response] of responses?.entries() ?? [])
    scheduler.submit(makeRequest({ id, promptIds, response, sampling }));
  const startedAt = performance.now();
  const results = collectResults(await drain(scheduler));
  console.log(`${label}: ${((performance.now() - startedAt) / 1000).toFixed(2)} s`);
  await decoder.release();
  const rows = Array.from({ length: ROWS }, (_, at) => results.get(responses ? `${at}:0` : `1:${at}`)!);
  return rows.map(({ tokenIds, logprobs }) => ({ tokenIds, logp: logprobs.reduce((sum, logp) => sum + logp, 0) }));
}

const rms = (values: number[]) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
const getBest = (values: number[]) => values.indexOf(Math.max(...values));

const root = await mkdtemp(join(tmpdir(), 'attune-scores-'));
try {
  const served = await writePolicy(root, true, precision as PrecisionName);
  const tokenizer = await Tokenizer.open(served);
  const messages = [{ role: 'user' as const, content: 'Tell me about the sea.' }];
  const promptIds = tokenizer.encode(tokenizer.renderChat(messages, { addGenerationPrompt: true }));
  const sampled = await run(served, `generating ${ROWS} x ${TOKENS} tokens at ${precision}`, promptIds);
  const responses = sampled.map(({ tokenIds }) => tokenIds);
  const score = async (isTrained: boolean, name: PrecisionName) =>
    run(await writePolicy(root, isTrained, name), `scoring them at ${name}`, promptIds, responses);
  const ratios: number[][] = [];
  for (const name of ['fp32', precision as PrecisionName] as const) {
    const [own, reference] = [await score(true, name), await score(false, name)];
    ratios.push(own.map(({ logp }, at) => logp - reference[at]!.logp));
  }
  const [exact, quantized] = ratios as [number[], number[]];
  const mean = exact.reduce((sum, value) => sum + value, 0) / ROWS;
  console.log(`log-ratio at fp32: mean ${mean.toFixed(2)}, spread ${rms(exact.map((f) => f - mean)).toFixed(2)} nats`);
  console.log(`error at ${precision}: ${rms(quantized.map((f, at) => f - exact[at]!)).toFixed(2)} nats (rms)`);
  console.log(`best of ${ROWS}: ${getBest(exact)} at fp32, ${getBest(quantized)} at ${precision}`);
} finally {
  await rm(root, { recursive: true });
}
