// Packs sequences into padded batches. A graph has fixed shapes and costs a while to make, so shapes come in few sizes:
// lengths in steps of 32, a handful of batch sizes, response positions in quarters of all positions.
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/policy/architecture.ts';
import type { Sequence } from './engine.ts';
import type { Bucket } from './programs.ts';

const LENGTH_STEP = 32;
const SIZES = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

/** Sequences as the arrays that a program takes; what is not filled is padding with weight 0. */
export type PackedBatch = {
  bucket: Bucket;
  ids: Int32Array; // [S, T]
  positions: Int32Array; // [R]
  targets: Int32Array; // [R]
  rows: Int32Array; // [R]
  weights: Float32Array; // [R]
  /** Where the response of each sequence begins in the flat list of R positions; null for padding. */
  starts: (number | null)[];
};

/** The number of tokens that the model reads: the last one is only predicted. */
export function inputLength({ promptIds, responseIds }: Sequence): number {
  return promptIds.length + responseIds.length - 1;
}

/** Refuses what would index outside of a table or has nothing to predict. */
export function checkSequence(sequence: Sequence, a: Architecture, where: string): void {
  const { promptIds, responseIds } = sequence;
  if (promptIds.length === 0)
    throw refused(`${where}: the prompt has no token, so the response's first one has nothing before it; add bos`);
  if (responseIds.length === 0) throw refused(`${where}: the response has no token; leave such pairs out`);
  const length = inputLength(sequence);
  if (length > a.contextLength)
    throw refused(`${where}: ${length + 1} tokens, more than the policy's context of ${a.contextLength}; shorten it`);
  for (const id of [...promptIds, ...responseIds])
    if (!Number.isInteger(id) || id < 0 || id >= a.vocabSize)
      throw refused(`${where}: token ${id} is not in the vocabulary of ${a.vocabSize}; another tokenizer made it`);
}

/** Groups items of these input lengths so that `rowsPerItem` padded sequences for each stay within the budget. */
export function planGroups(lengths: number[], rowsPerItem: number, tokenBudget: number): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const groups: number[][] = [];
  for (let at = 0; at < order.length; ) {
    const T = roundUp(lengths[order[at]!]!, LENGTH_STEP);
    const size = SIZES.findLast((size) => size * rowsPerItem * T <= tokenBudget) ?? 1;
    groups.push(order.slice(at, at + size));
    at += size;
  }
  return groups;
}

/** The number of places that a group of this size gets. */
export function bucketSize(count: number): number {
  const size = SIZES.find((size) => size >= count);
  if (size === undefined) throw new Error(`internal: batch: a group of ${count}`);
  return size;
}

/** One row for each sequence; null rows are padding. `mean` divides each token's weight by the response's length. */
export function packSequences(sequences: (Sequence | null)[], reduction: 'mean' | 'sum'): PackedBatch {
  const S = sequences.length;
  const T = roundUp(Math.max(...sequences.map((s) => (s ? inputLength(s) : 1))), LENGTH_STEP);
  const responses = sequences.reduce((sum, s) => sum + (s?.responseIds.length ?? 0), 0);
  const R = roundUp(responses, (S * T) / 4);
  const batch: PackedBatch = {
    bucket: { S, T, R },
    ids: new Int32Array(S * T),
    positions: new Int32Array(R),
    targets: new Int32Array(R),
    rows: new Int32Array(R),
    weights: new Float32Array(R),
    starts: [],
  };
  let at = 0;
  for (const [row, sequence] of sequences.entries()) {
    batch.starts.push(sequence ? at : null);
    if (!sequence) continue;
    const { promptIds, responseIds } = sequence;
    batch.ids.set(promptIds, row * T);
    batch.ids.set(responseIds.slice(0, -1), row * T + promptIds.length);
    const weight = reduction === 'mean' ? 1 / responseIds.length : 1;
    for (const [j, target] of responseIds.entries()) {
      batch.positions[at] = row * T + promptIds.length - 1 + j;
      batch.targets[at] = target;
      batch.rows[at] = row;
      batch.weights[at] = weight;
      at++;
    }
  }
  return batch;
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

function refused(message: string): AttuneError {
  return new AttuneError(message, { code: 'invalid_sequence' });
}
