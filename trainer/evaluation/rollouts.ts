// What a policy writes by itself: responses to held-out prompts, drawn through its float32 serving graph and the decoder
// that serves. A draw has a stream of its own, so two policies answer the same prompts by the same dice, and what they
// write differs only as far as they do. The graph's files are temporary; its session is closed before this returns.
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

const ROWS = 16;
/** Share of the held-out responses that are at most as long as a draw may be: the longest few would cost most. */
const LENGTH_SHARE = 0.9;

/** A response to draw; `prompt` is the number of its prompt, the same for draws that answer one. */
export type Draw = { promptIds: number[]; prompt: number; maxTokens: number };

/** `count` draws spread over the distinct prompts of the pairs; several for each prompt where there are fewer. */
export function planDraws(pairs: readonly TrainPair[], count: number, { contextLength }: Architecture): Draw[] {
  const prompts = [...new Map(pairs.map(({ chosen }) => [chosen.promptIds.join(), chosen.promptIds])).values()];
  if (prompts.length === 0) throw new Error('internal: samples: there are no held-out pairs');
  const lengths = pairs
    .flatMap(({ chosen, rejected }) => [chosen.responseIds.length, rejected.responseIds.length])
    .sort((a, b) => a - b);
  const longest = lengths[Math.ceil(LENGTH_SHARE * lengths.length) - 1]!;
  return Array.from({ length: count }, (_, i) => {
    const prompt = i % prompts.length;
    const promptIds = prompts[prompt]!;
    return { promptIds, prompt, maxTokens: Math.max(1, Math.min(longest, contextLength - promptIds.length)) };
  });
}

export type Writer = {
  architecture: Architecture;
  weights: Weights;
  /** Where the graph is written for as long as this takes. */
  folder: string;
  seed: number;
  threads: number;
};

/** Draws at temperature 1 until the end-of-text token, which counts as part of the response, or until maxTokens. */
export async function drawResponses(
  writer: Writer,
  draws: readonly Draw[],
  onProgress: (done: number) => void = () => {},
): Promise<Sequence[]> {
  await mkdir(writer.folder, { recursive: true });
  const folder = await mkdtemp(join(writer.folder, 'samples-'));
  try {
    await writeServingGraph(folder, writer.architecture, writer.weights, 'fp32');
    const session = await openSession(join(folder, SERVE_GRAPH), writer.threads);
    const decoder = new Decoder(session, Tensor, writer.architecture);
    try {
      const sequences: Sequence[] = [];
      for (let at = 0; at < draws.length; at += ROWS) {
        const randoms = draws.slice(at, at + ROWS).map((_, row) => seedRandom(writer.seed, at + row));
        sequences.push(...(await drawRows(decoder, draws.slice(at, at + ROWS), randoms)));
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

async function drawRows(decoder: Decoder, draws: readonly Draw[], randoms: (() => number)[]): Promise<Sequence[]> {
  const { vocabSize, eos } = decoder.architecture;
  const ends = new Set(eos);
  const sequences: Sequence[] = draws.map(({ promptIds }) => ({ promptIds, responseIds: [] }));
  const cache = decoder.createCache();
  for (const { promptIds } of draws) cache.addRow(promptIds.length);
  // Which draw each row of the cache is: rows that end leave, and the last one takes their place.
  const rows = [...draws.keys()];
  let fed = draws.map(({ promptIds }) => promptIds);
  while (rows.length > 0) {
    const { logits, logNormalizers } = await decoder.forward(cache, fed);
    const isOver = rows.map((draw, row) => {
      const own = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
      const normalizer = logNormalizers[row]!;
      if (!Number.isFinite(normalizer))
        throw new Error('internal: samples: the policy gives logits that are no numbers');
      const token = sampleToken(own, normalizer, NEUTRAL_SAMPLING, new Map(), randoms[draw]!);
      const { responseIds } = sequences[draw]!;
      responseIds.push(token);
      return ends.has(token) || responseIds.length >= draws[draw]!.maxTokens;
    });
    for (let row = rows.length - 1; row >= 0; row--) {
      if (!isOver[row]) continue;
      cache.removeRow(row);
      const last = rows.pop()!;
      if (row < rows.length) rows[row] = last;
    }
    fed = rows.map((draw) => [sequences[draw]!.responseIds.at(-1)!]);
  }
  cache.clear();
  return sequences;
}

const REPEATED = 4;

/** How many of a response's runs of four tokens it has had before, and how many runs there are. */
export function countRepeats(tokens: readonly number[]): { repeated: number; total: number } {
  const runs = runsOf(tokens, REPEATED);
  return { repeated: runs.length - new Set(runs).size, total: runs.length };
}

/** The share of distinct runs of n tokens among those of all responses: near 0 where a policy says one thing always. */
export function shareDistinct(responses: readonly (readonly number[])[], n: number): number {
  const runs = responses.flatMap((tokens) => runsOf(tokens, n));
  return runs.length === 0 ? 1 : new Set(runs).size / runs.length;
}

function runsOf(tokens: readonly number[], n: number): string[] {
  return Array.from({ length: Math.max(0, tokens.length - n + 1) }, (_, at) => tokens.slice(at, at + n).join());
}
