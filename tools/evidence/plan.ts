// What is compared with what, and at which cost: the same pairs, steps and learning rate for every objective, chosen so
// that all of it takes about 25 minutes on two idle cores.
import type { ObjectiveRequest } from '../../trainer/objectives.ts';

/** An objective as its own people use it; `name` is what the page calls it. */
export type Contender = { name: string; objective: ObjectiveRequest };

export type StudyPlan = {
  /** Pairs whose chosen responses the reference learns first, so that it knows what kind of text this is. */
  preparePairs: number;
  prepareRate: number;
  trainPairs: number;
  heldOutPairs: number;
  batchPairs: number;
  /** Tokens of a prompt with its longer response; longer pairs are left out. */
  maxLength: number;
  /** Held-out looks after the one at the start. */
  looks: number;
  learningRate: number;
  /** Others, one seed each. */
  otherRates: number[];
  seeds: number[];
  contenders: Contender[];
  /** What else is worth a look, one seed each. */
  variants: Contender[];
  kl: { samples: number; maxTokens: number };
};

export const CONTENDERS: Contender[] = [
  { name: 'lsif', objective: { objective: 'lsif', reduction: 'mean' } },
  { name: 'ukl', objective: { objective: 'ukl', reduction: 'mean' } },
  { name: 'bce', objective: { objective: 'bce', reduction: 'mean' } },
  { name: 'dpo', objective: { objective: 'dpo', reduction: 'sum', beta: 0.1 } },
  { name: 'sft', objective: { objective: 'sft', reduction: 'mean' } },
];

export const studyPlan: StudyPlan = {
  preparePairs: 200,
  prepareRate: 1e-4,
  trainPairs: 192,
  heldOutPairs: 64,
  batchPairs: 8,
  maxLength: 96,
  looks: 3,
  learningRate: 2e-5,
  otherRates: [5e-6, 8e-5],
  seeds: [1, 2, 3],
  contenders: CONTENDERS,
  variants: [
    { name: 'lsif, sum', objective: { objective: 'lsif', reduction: 'sum' } },
    { name: 'dpo, mean, β 1', objective: { objective: 'dpo', reduction: 'mean', beta: 1 } },
  ],
  kl: { samples: 48, maxTokens: 48 },
};

export type TastePlan = {
  vocabulary: number;
  length: number;
  prompts: number;
  /** Spread of the taste's rewards, in logits of a comparison. */
  spread: number;
  steps: number;
  batchPairs: number;
  learningRate: number;
  looks: number;
  seeds: number[];
  contenders: Contender[];
};

export const tastePlan: TastePlan = {
  vocabulary: 6,
  length: 3,
  prompts: 4,
  spread: 1.5,
  steps: 500,
  batchPairs: 64,
  learningRate: 1e-3,
  looks: 20,
  seeds: [1, 2, 3],
  contenders: [
    { name: 'lsif', objective: { objective: 'lsif', reduction: 'sum', negatives: 'both' } },
    { name: 'ukl', objective: { objective: 'ukl', reduction: 'sum', negatives: 'both' } },
    { name: 'bce', objective: { objective: 'bce', reduction: 'sum', negatives: 'both' } },
    { name: 'sft', objective: { objective: 'sft', reduction: 'sum' } },
    { name: 'dpo β 1', objective: { objective: 'dpo', reduction: 'sum', beta: 1 } },
    { name: 'dpo β 0.1', objective: { objective: 'dpo', reduction: 'sum', beta: 0.1 } },
    { name: 'lsif, rejected', objective: { objective: 'lsif', reduction: 'sum', negatives: 'rejected' } },
    { name: 'lsif, mean', objective: { objective: 'lsif', reduction: 'mean', negatives: 'both' } },
  ],
};
