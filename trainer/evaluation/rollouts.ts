// A policy's own responses to held-out prompts, sampled with its float32 serving graph and the decoder of the edge. Each
// sample has its own random stream, so that two policies are sampled with the same random numbers and their samples
// differ only as far as the policies do. The graph's files are temporary, and its session is closed before
// sampleResponses returns.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Tensor } from 'onnxruntime-node';
import { Decoder } from '../../shared/decoder/decoder.ts';
import { type KvCache, kvBytesPerRow } from '../../shared/decoder/kv-cache.ts';
import { seedRandom } from '../../shared/decoder/random.ts';
import { NEUTRAL_SAMPLING, sampleToken } from '../../shared/decoder/sampling.ts';
import { openSession } from '../../shared/decoder/session.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { buffersOf, type Weights } from '../../shared/model/tensor.ts';
import { float32 } from '../../shared/onnx/precision/float32.ts';
import { SERVE_GRAPH, writeServingGraph } from '../../shared/onnx/write-graphs.ts';
import type { Sequence, TrainPair } from '../engine/engine.ts';

/** Tokens of the prompts that are computed together, padding included. */
const PREFILL_TOKENS = 512;
/** Samples are as long as this quantile of the held-out responses, because the longest few would cost most. */
const LENGTH_QUANTILE = 0.9;

/** A response to sample; requests with the same prompt have the same promptIndex. */
export type RolloutRequest = { promptIds: number[]; promptIndex: number; maxTokens: number };

/** `count` requests, round robin over the distinct prompts of the pairs. */
export function planRollouts(
  pairs: readonly Pick<TrainPair, 'chosen' | 'rejected'>[],
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

/** Tokens of the longest request with its response. */
export function findLongest(requests: readonly RolloutRequest[]): number {
  return requests.reduce((longest, { promptIds, maxTokens }) => Math.max(longest, promptIds.length + maxTokens), 0);
}

export type Sampler = {
  architecture: Architecture;
  /** Called once; the arrays are freed as soon as the graph is on disk. */
  readWeights(): Promise<Weights>;
  /** For the temporary graph. */
  folder: string;
  seed: number;
  threads: number;
  /** Responses that are decoded together; default: 16. */
  rows?: number;
};

/**
 * Samples at temperature 1 until maxTokens or the end-of-text token, which is part of the response. `onProgress`: called
 * after each token with the responses that have ended; what it throws stops the sampling.
 */
export async function sampleResponses(
  sampler: Sampler,
  requests: readonly RolloutRequest[],
  onProgress: (done: number) => void = () => {},
): Promise<Sequence[]> {
  const { architecture, threads, seed, rows = 16 } = sampler;
  await mkdir(sampler.folder, { recursive: true });
  const folder = await mkdtemp(join(sampler.folder, 'rollouts-'));
  try {
    const weights = await sampler.readWeights();
    await writeServingGraph(folder, architecture, weights, float32);
    for (const buffer of buffersOf(weights)) buffer.transfer(0);
    const session = await openSession(join(folder, SERVE_GRAPH), threads);
    const decoder = new Decoder(session, Tensor, architecture);
    try {
      return await new Rollouts(decoder, requests, seed, rows).run(onProgress);
    } finally {
      await decoder.release();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Continuous batching: a response that ends gives its row of the cache to the next request at once. */
class Rollouts {
  private readonly decoder: Decoder;
  private readonly maxRows: number;
  private readonly requests: readonly RolloutRequest[];
  private readonly sequences: Sequence[];
  /** The stream of random numbers of each sample. */
  private readonly randoms: (() => number)[];
  private readonly cache: KvCache;
  /** The request in each row of the cache. */
  private readonly rows: number[] = [];
  private readonly ends: ReadonlySet<number>;

  constructor(decoder: Decoder, requests: readonly RolloutRequest[], seed: number, maxRows: number) {
    this.decoder = decoder;
    this.maxRows = maxRows;
    this.requests = requests;
    this.sequences = requests.map(({ promptIds }) => ({ promptIds, responseIds: [] }));
    this.randoms = requests.map((_, index) => seedRandom(seed, index));
    const longest = findLongest(requests);
    this.cache = decoder.createCache(maxRows * kvBytesPerRow(decoder.kvBytesPerPosition, longest));
    this.ends = new Set(decoder.architecture.eos);
  }

  async run(onProgress: (done: number) => void): Promise<Sequence[]> {
    const { cache, maxRows, rows, sequences, requests } = this;
    const { vocabSize } = this.decoder.architecture;
    let started = 0;
    const report = () => onProgress(started - rows.length);
    for (;;) {
      while (rows.length < maxRows && started < requests.length) {
        const group = this.selectPrefill(started, maxRows - rows.length);
        await this.prefill(group);
        started += group.length;
        report();
      }
      if (rows.length === 0) break;
      const inputs = rows.map((index) => [sequences[index]!.responseIds.at(-1)!]);
      const { logits, logNormalizers } = await this.decoder.forward(cache, inputs);
      const hasEnded = rows.map((index, row) =>
        this.appendToken(index, logits.subarray(row * vocabSize, (row + 1) * vocabSize), logNormalizers[row]!),
      );
      // Removing a row moves the last row into its place.
      for (let row = rows.length - 1; row >= 0; row--) {
        if (!hasEnded[row]) continue;
        cache.removeRow(row);
        const last = rows.pop()!;
        if (row < rows.length) rows[row] = last;
      }
      report();
    }
    cache.clear();
    return sequences;
  }

  /** The next requests whose prompts fit one prefill, at least one. */
  private selectPrefill(first: number, maxCount: number): number[] {
    const group: number[] = [];
    let longest = 0;
    for (let index = first; index < this.requests.length && group.length < maxCount; index++) {
      longest = Math.max(longest, this.requests[index]!.promptIds.length);
      if (group.length > 0 && longest * (group.length + 1) > PREFILL_TOKENS) break;
      group.push(index);
    }
    return group;
  }

  /** Computes the prompts and samples the first token of each; a response of one token needs no row. */
  private async prefill(group: number[]): Promise<void> {
    const { cache, decoder, requests, rows } = this;
    const empty = decoder.createCache();
    for (const _ of group) empty.addRow();
    const prompts = group.map((index) => requests[index]!.promptIds);
    for (const [at, { block, logits, logNormalizer }] of (await decoder.prefill(empty, prompts)).entries()) {
      const index = group[at]!;
      if (this.appendToken(index, logits, logNormalizer)) continue;
      cache.appendBlock(cache.addRow(block.length), block);
      rows.push(index);
    }
  }

  /** Samples a token from logits [V]; returns whether it ends the response. */
  private appendToken(index: number, logits: Float32Array, logNormalizer: number): boolean {
    if (!Number.isFinite(logNormalizer))
      throw new AttuneError('sampling: the logits of the policy are not finite; roll back to a policy that generates', {
        code: 'sampling_failed',
      });
    const token = sampleToken(logits, logNormalizer, NEUTRAL_SAMPLING, new Map(), this.randoms[index]!);
    const { responseIds } = this.sequences[index]!;
    responseIds.push(token);
    return this.ends.has(token) || responseIds.length >= this.requests[index]!.maxTokens;
  }
}

/** The share of distinct n-grams among those of all responses: near 0 if a policy always writes the same response. */
export function distinctNgramRatio(responses: readonly (readonly number[])[], n: number): number {
  const ngrams = responses.flatMap((tokens) => ngramsOf(tokens, n));
  return ngrams.length === 0 ? 1 : new Set(ngrams).size / ngrams.length;
}

function ngramsOf(tokens: readonly number[], n: number): string[] {
  return Array.from({ length: Math.max(0, tokens.length - n + 1) }, (_, at) => tokens.slice(at, at + n).join());
}
