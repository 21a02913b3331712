// The collator: packs sequences into the input arrays of a program. A row of T tokens holds several runs, each a
// prompt followed by its responses: the position ids of every response continue from the prompt, and the prompt's last
// token predicts the first token of each.
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Sequence, TrainPair } from './engine.ts';
import { type AttentionCost, countInputTokens, packRows, roundUp } from './packing.ts';

/** Default: the attention cost of a small policy. */
const TYPICAL_ATTENTION_COST = 5e-4;

/** The shape of a batch: S rows of T tokens, with R response tokens of P pairs in total. */
export type ShapeBucket = { S: number; T: number; R: number; P: number };

/** Tensors by name, as flat arrays with shapes. */
export type InputArrays = Map<string, { shape: number[]; data: Float32Array | Int32Array }>;

/** Packed responses. Padding has segment 0 and token weight 0. */
export type PackedBatch = {
  bucket: ShapeBucket;
  /**
   * inputIds, positionIds, segmentIds, parentSegmentIds [S, T]; logitPositions, targetIds, responseIndices,
   * tokenWeights [R]
   */
  arrays: InputArrays;
  /** The index in the flat list of R response tokens at which each response starts; null for padding. */
  responseStarts: (number | null)[];
};

/** Throws `invalid_sequence` if prompt or response is empty, the sequence is too long, or a token id is unknown. */
export function validateSequence(sequence: Sequence, a: Architecture, where: string): void {
  const { promptIds, responseIds } = sequence;
  if (promptIds.length === 0)
    throw invalid(`${where}: the prompt is empty, so nothing predicts the response's first token; add bos`);
  if (responseIds.length === 0) throw invalid(`${where}: the response is empty; leave such pairs out`);
  // A reward is read at the last token of the response, which a policy only predicts.
  const length = countInputTokens(sequence) + (a.output === 'reward' ? 1 : 0);
  if (length > a.contextLength)
    throw invalid(`${where}: ${length + 1} tokens exceed the context of ${a.contextLength}; shorten it`);
  for (const id of [...promptIds, ...responseIds])
    if (!Number.isInteger(id) || id < 0 || id >= a.vocabSize)
      throw invalid(
        `${where}: token ${id} is not in the vocabulary of ${a.vocabSize}; tokenize with the policy's own tokenizer`,
      );
}

/** Throws `invalid_pair` if the reference log-probabilities belong to other tokens. */
export function validatePair(pair: TrainPair, a: Architecture, where: string): void {
  for (const [side, refLogps] of [
    ['chosen', pair.refChosenLogps],
    ['rejected', pair.refRejectedLogps],
  ] as const) {
    const sequence = pair[side];
    validateSequence(sequence, a, `${where}: ${side}`);
    const scores = countScores(sequence, a);
    if (refLogps.length !== scores)
      throw new AttuneError(
        `${where}: ${side} has ${scores} response tokens but ${refLogps.length} reference log-probabilities; score the reference again`,
        { code: 'invalid_pair' },
      );
  }
}

/** The scores of a response: one for each of its tokens; of a reward, one in all. */
export function countScores({ responseIds }: Sequence, a: Architecture): number {
  return a.output === 'reward' ? 1 : responseIds.length;
}

export type PackOptions = {
  /** `mean` divides each token's weight by the length of its response. */
  reduction: 'mean' | 'sum';
  attentionCost?: AttentionCost;
  /** For devices that compile a graph per shape: rounds every extent up to one of a few sizes. */
  useShapeBuckets?: boolean;
};

/** Packs the sequences into the fewest tokens; null sequences are padding. */
export function packSequences(sequences: (Sequence | null)[], options: PackOptions): PackedBatch {
  const { T: length, rows } = packRows(sequences, options.attentionCost ?? TYPICAL_ATTENTION_COST);
  const toSize = options.useShapeBuckets ? roundUpToBucket : (count: number) => count;
  const responseTokens = sequences.reduce((sum, sequence) => sum + (sequence?.responseIds.length ?? 0), 0);
  const [S, T, R] = [toSize(rows.length), toSize(length), toSize(responseTokens)];
  // [S, T] each
  const tokens = {
    inputIds: new Int32Array(S * T),
    positionIds: new Int32Array(S * T),
    segmentIds: new Int32Array(S * T),
    parentSegmentIds: new Int32Array(S * T),
  };
  // [R] each
  const responses = {
    logitPositions: new Int32Array(R),
    targetIds: new Int32Array(R),
    responseIndices: new Int32Array(R),
  };
  const tokenWeights = new Float32Array(R);
  const responseStarts: (number | null)[] = sequences.map(() => null);
  let r = 0;
  for (const [row, runs] of rows.entries()) {
    let at = row * T;
    let segment = 0;
    for (const { members } of runs) {
      const { promptIds } = sequences[members[0]!]!;
      const promptSegment = ++segment;
      const append = (ids: number[], firstPosition: number, segmentId: number): void => {
        for (const [t, id] of ids.entries()) {
          tokens.inputIds[at] = id;
          tokens.positionIds[at] = firstPosition + t;
          tokens.segmentIds[at] = segmentId;
          tokens.parentSegmentIds[at] = promptSegment;
          at++;
        }
      };
      append(promptIds, 0, promptSegment);
      const promptEnd = at - 1;
      for (const member of members) {
        const { responseIds } = sequences[member]!;
        responseStarts[member] = r;
        for (const [j, targetId] of responseIds.entries()) {
          responses.logitPositions[r] = j === 0 ? promptEnd : at + j - 1;
          responses.targetIds[r] = targetId;
          responses.responseIndices[r] = member;
          tokenWeights[r] = options.reduction === 'mean' ? 1 / responseIds.length : 1;
          r++;
        }
        append(responseIds.slice(0, -1), promptIds.length, ++segment);
      }
    }
  }
  const arrays: InputArrays = new Map();
  for (const [name, data] of Object.entries(tokens)) arrays.set(name, { shape: [S, T], data });
  for (const [name, data] of Object.entries(responses)) arrays.set(name, { shape: [R], data });
  arrays.set('tokenWeights', { shape: [R], data: tokenWeights });
  return { bucket: { S, T, R, P: Math.floor(sequences.length / 2) }, arrays, responseStarts };
}

/** Packs whole responses for a reward, which has one score for each: at its last token. R is the number of sequences. */
export function packResponseEnds(sequences: (Sequence | null)[], options: PackOptions): PackedBatch {
  // The last token of a response is an input if another one follows it.
  const extended = sequences.map((sequence) => sequence && { ...sequence, responseIds: [...sequence.responseIds, 0] });
  const { bucket, arrays, responseStarts } = packSequences(extended, options);
  const R = sequences.length;
  const logitPositions = new Int32Array(R);
  const tokenWeights = new Float32Array(R);
  const positions = arrays.get('logitPositions')!.data;
  for (const [i, sequence] of sequences.entries()) {
    if (!sequence) continue;
    logitPositions[i] = positions[responseStarts[i]! + sequence.responseIds.length]!;
    tokenWeights[i] = 1;
  }
  arrays.delete('targetIds');
  arrays.set('logitPositions', { shape: [R], data: logitPositions });
  arrays.set('responseIndices', { shape: [R], data: Int32Array.from({ length: R }, (_, i) => i) });
  arrays.set('tokenWeights', { shape: [R], data: tokenWeights });
  return { bucket: { ...bucket, R }, arrays, responseStarts: sequences.map((sequence, i) => (sequence ? i : null)) };
}

/** Rounds up to the next of 1, 2, … 16, 18, 20, … 32, 36, 40, …: adds at most an eighth. */
export function roundUpToBucket(count: number): number {
  const step = 2 ** Math.max(0, Math.ceil(Math.log2(count)) - 4);
  return roundUp(count, step);
}

function invalid(message: string): AttuneError {
  return new AttuneError(message, { code: 'invalid_sequence' });
}
