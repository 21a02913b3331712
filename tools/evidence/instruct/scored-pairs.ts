// Log-probabilities of the study's pairs: token by token under the policy before, summed over each response after a run.
import type { Engine, TrainPair } from '../../../trainer/engine/engine.ts';
import type { InstructPair, InstructSplits } from './pairs.ts';

/** Log-probabilities of the responses of each pair, summed over tokens. */
export type PairLogps = { chosen: number[]; rejected: number[] };

export async function scoreTokens(engine: Engine, pairs: InstructPair[]): Promise<number[][]> {
  const logps = await engine.score(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]));
  return logps.map((tokens) => [...tokens]);
}

export async function scorePairs(engine: Engine, pairs: InstructPair[]): Promise<PairLogps> {
  const sums = (await scoreTokens(engine, pairs)).map((tokens) => tokens.reduce((sum, logp) => sum + logp, 0));
  return { chosen: sums.filter((_, i) => i % 2 === 0), rejected: sums.filter((_, i) => i % 2 === 1) };
}

export type ScoredSplits = Record<'train' | 'validation' | 'test', TrainPair[]>;

/** `scores`: of the chosen and rejected responses in turn, over train, validation and test. */
export function addReference({ train, validation, test }: InstructSplits, scores: number[][]): ScoredSplits {
  const scored = [...train, ...validation, ...test].map(({ chosen, rejected }, i) => ({
    chosen,
    rejected,
    refChosenLogps: Float32Array.from(scores[2 * i]!),
    refRejectedLogps: Float32Array.from(scores[2 * i + 1]!),
  }));
  const end = train.length + validation.length;
  return { train: scored.slice(0, train.length), validation: scored.slice(train.length, end), test: scored.slice(end) };
}

export function sumReference(pairs: TrainPair[]): PairLogps {
  const sum = (logps: Float32Array) => logps.reduce((total, logp) => total + logp, 0);
  return {
    chosen: pairs.map(({ refChosenLogps }) => sum(refChosenLogps)),
    rejected: pairs.map(({ refRejectedLogps }) => sum(refRejectedLogps)),
  };
}
