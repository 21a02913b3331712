// Sequences as the arrays that a program takes. A row of tokens holds several runs, each a prompt and the responses to it:
// a response's positions go on where the prompt's end, and the prompt's last token predicts the first of every response.
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Sequence } from './engine.ts';
import { type AttentionCost, inputLength, layOut, roundUp } from './packing.ts';
import type { Bucket } from './programs.ts';

/** That of a small policy, where it is not given. */
const USUAL_ATTENTION = 5e-4;

export type Arrays = Map<string, { shape: number[]; data: Float32Array | Int32Array }>;

/** Responses as the arrays that a program takes; what is not filled is padding with weight 0. */
export type PackedBatch = {
  bucket: Bucket;
  /** ids, positionIds, segments, parents [S, T]; positions, targets, owners, weights [R]. Segment 0 is padding. */
  arrays: Arrays;
  /** Where each response begins in the flat list of R positions; null for padding. */
  starts: (number | null)[];
};

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

export type PackOptions = {
  /** `mean` divides each token's weight by the response's length. */
  reduction: 'mean' | 'sum';
  attention?: AttentionCost;
  /** For a device that makes a graph for every bucket: rounds everything up to a few sizes. */
  fewBuckets?: boolean;
};

/** The sequences, of which null ones are places for padding, in as few tokens as it takes. */
export function packSequences(sequences: (Sequence | null)[], options: PackOptions): PackedBatch {
  const { T: length, rows } = layOut(sequences, options.attention ?? USUAL_ATTENTION);
  const size = options.fewBuckets ? roundToSize : (count: number) => count;
  const responses = sequences.reduce((sum, sequence) => sum + (sequence?.responseIds.length ?? 0), 0);
  const [S, T, R] = [size(rows.length), size(length), size(responses)];
  const tokens = {
    ids: new Int32Array(S * T),
    positionIds: new Int32Array(S * T),
    segments: new Int32Array(S * T),
    parents: new Int32Array(S * T),
  };
  const places = { positions: new Int32Array(R), targets: new Int32Array(R), owners: new Int32Array(R) };
  const weights = new Float32Array(R);
  const starts: (number | null)[] = sequences.map(() => null);
  let next = 0;
  for (const [row, runs] of rows.entries()) {
    let at = row * T;
    let segment = 0;
    for (const { members } of runs) {
      const { promptIds } = sequences[members[0]!]!;
      const prompt = ++segment;
      const feed = (ids: number[], position: number, own: number): void => {
        for (const [t, id] of ids.entries()) {
          tokens.ids[at] = id;
          tokens.positionIds[at] = position + t;
          tokens.segments[at] = own;
          tokens.parents[at] = prompt;
          at++;
        }
      };
      feed(promptIds, 0, prompt);
      const last = at - 1;
      for (const member of members) {
        const { responseIds } = sequences[member]!;
        starts[member] = next;
        for (const [j, target] of responseIds.entries()) {
          places.positions[next] = j === 0 ? last : at + j - 1;
          places.targets[next] = target;
          places.owners[next] = member;
          weights[next] = options.reduction === 'mean' ? 1 / responseIds.length : 1;
          next++;
        }
        feed(responseIds.slice(0, -1), promptIds.length, ++segment);
      }
    }
  }
  const arrays: Arrays = new Map();
  for (const [name, data] of Object.entries(tokens)) arrays.set(name, { shape: [S, T], data });
  for (const [name, data] of Object.entries(places)) arrays.set(name, { shape: [R], data });
  arrays.set('weights', { shape: [R], data: weights });
  return { bucket: { S, T, R, P: Math.floor(sequences.length / 2) }, arrays, starts };
}

/** Up to the next of 1, 2, … 16, 18, 20, … 32, 36, 40, …: at most an eighth is added. */
export function roundToSize(count: number): number {
  const step = 2 ** Math.max(0, Math.ceil(Math.log2(count)) - 4);
  return roundUp(count, step);
}

function refused(message: string): AttuneError {
  return new AttuneError(message, { code: 'invalid_sequence' });
}
