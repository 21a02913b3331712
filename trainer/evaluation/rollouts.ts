// A policy's own responses to held-out prompts, sampled with its float32 serving graph and the decoder of the edge. Each
// sample has its own random stream, so that two policies are sampled with the same random numbers and their samples
// differ only as far as the policies do. The graph's files are temporary, and its session is closed before
// sampleResponses returns.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Tensor } from 'onnxruntime-node';
import { Decoder } from '../../shared/decoder/decoder.ts';
import { seedRandom } from '../../shared/decoder/random.ts';
import { NEUTRAL_SAMPLING, sampleToken } from '../../shared/decoder/sampling.ts';
import { openSession } from '../../shared/decoder/session.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/safetensors.ts';
import { SERVE_GRAPH, writeServingGraph } from '../../shared/onnx/write-graphs.ts';
import type { Sequence, TrainPair } from '../engine/engine.ts';

const BATCH_ROWS = 16;
/** Samples are as long as this quantile of the held-out responses, because the longest few would cost most. */
const LENGTH_QUANTILE = 0.9;

/** A response to sample; requests with the same prompt have the same promptIndex. */
export type RolloutRequest = { promptIds: number[]; promptIndex: number; maxTokens: number };

/** `count` requests, round robin over the distinct prompts of the pairs. */
export function planRollouts(
  pairs: readonly TrainPair[],
  count: number,
  { contextLength }: Architecture,
): RolloutRequest[] {
  const prompts = [...new Map(pairs.map(({ chosen }) => [chosen.promptIds.join(), chosen.promptIds])).values()];
  if (prompts.length === 0) throw new Error('internal: rollouts: no held-out pairs');
  const lengths = pairs
    .flatMap(({ chosen, rejected }) => [chosen.responseIds.length, rejected.responseIds.length])
    .sort((a, b) => a - b);
  const longest = lengths[Math.ceil(LENGTH_QUANTILE * lengths.length) - 1]!;
  return Array.from({ length: count }, (_, i) => {
    const promptIndex = i % prompts.length;
    const promptIds = prompts[promptIndex]!;
    return { promptIds, promptIndex, maxTokens: Math.max(1, Math.min(longest, contextLength - promptIds.length)) };
  });
}

export type Sampler = {
  architecture: Architecture;
  weights: Weights;
  /** For the temporary graph. */
  folder: string;
  seed: number;
  threads: number;
};

/** Samples at temperature 1 until maxTokens or the end-of-text token, which is part of the response. */
export async function sampleResponses(
  sampler: Sampler,
  requests: readonly RolloutRequest[],
  onProgress: (done: number) => void = () => {},
): Promise<Sequence[]> {
  await mkdir(sampler.folder, { recursive: true });
  const folder = await mkdtemp(join(sampler.folder, 'rollouts-'));
  try {
    await writeServingGraph(folder, sampler.architecture, sampler.weights, 'fp32');
    const session = await openSession(join(folder, SERVE_GRAPH), sampler.threads);
    const decoder = new Decoder(session, Tensor, sampler.architecture);
    try {
      const sequences: Sequence[] = [];
      for (let at = 0; at < requests.length; at += BATCH_ROWS) {
        const batch = requests.slice(at, at + BATCH_ROWS);
        const randoms = batch.map((_, row) => seedRandom(sampler.seed, at + row));
        sequences.push(...(await sampleBatch(decoder, batch, randoms)));
        onProgress(sequences.length);
      }
      return sequences;
    } finally {
      await decoder.release();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function sampleBatch(
  decoder: Decoder,
  requests: readonly RolloutRequest[],
  randoms: (() => number)[],
): Promise<Sequence[]> {
  const { vocabSize, eos } = decoder.architecture;
  const ends = new Set(eos);
  const sequences: Sequence[] = requests.map(({ promptIds }) => ({ promptIds, responseIds: [] }));
  const cache = decoder.createCache();
  for (const { promptIds } of requests) cache.addRow(promptIds.length);
  // rows[r] is the request in row r of the cache. Removing a row moves the last row into its place.
  const rows = [...requests.keys()];
  let inputs = requests.map(({ promptIds }) => promptIds);
  while (rows.length > 0) {
    const { logits, logNormalizers } = await decoder.forward(cache, inputs);
    const hasEnded = rows.map((index, row) => {
      // [V]
      const rowLogits = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
      const normalizer = logNormalizers[row]!;
      if (!Number.isFinite(normalizer)) throw new Error('internal: rollouts: the logits of the policy are not finite');
      const token = sampleToken(rowLogits, normalizer, NEUTRAL_SAMPLING, new Map(), randoms[index]!);
      const { responseIds } = sequences[index]!;
      responseIds.push(token);
      return ends.has(token) || responseIds.length >= requests[index]!.maxTokens;
    });
    for (let row = rows.length - 1; row >= 0; row--) {
      if (!hasEnded[row]) continue;
      cache.removeRow(row);
      const last = rows.pop()!;
      if (row < rows.length) rows[row] = last;
    }
    inputs = rows.map((index) => [sequences[index]!.responseIds.at(-1)!]);
  }
  cache.clear();
  return sequences;
}

const NGRAM = 4;

/** The number of 4-grams of a response that occurred in it before, and of all its 4-grams. */
export function countRepeatedNgrams(tokens: readonly number[]): { repeated: number; total: number } {
  const ngrams = ngramsOf(tokens, NGRAM);
  return { repeated: ngrams.length - new Set(ngrams).size, total: ngrams.length };
}

/** The share of distinct n-grams among those of all responses: near 0 if a policy always writes the same response. */
export function distinctNgramRatio(responses: readonly (readonly number[])[], n: number): number {
  const ngrams = responses.flatMap((tokens) => ngramsOf(tokens, n));
  return ngrams.length === 0 ? 1 : new Set(ngrams).size / ngrams.length;
}

function ngramsOf(tokens: readonly number[], n: number): string[] {
  return Array.from({ length: Math.max(0, tokens.length - n + 1) }, (_, at) => tokens.slice(at, at + n).join());
}
