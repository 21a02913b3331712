// Configuration of both studies: every method gets the same pairs, steps and learning rate. The sizes are chosen so that
// everything takes about 25 minutes on two idle cores.
import type { ObjectiveInput } from '../../trainer/objectives.ts';

/** An objective with the reduction and β that its authors use; `name` is its label in the page. */
export type Method = { name: string; objective: ObjectiveInput };

export type PreferenceStudyConfig = {
  /** Pairs on whose chosen responses the reference is fine-tuned first, so that the text is in its distribution. */
  warmUpPairs: number;
  warmUpLearningRate: number;
  trainPairs: number;
  heldOutPairs: number;
  batchPairs: number;
  /** Tokens of a prompt and its longer response; longer pairs are skipped. */
  maxTokens: number;
  /** Held-out evaluations after the one at step 0. */
  evaluations: number;
  learningRate: number;
  /** One seed each. */
  otherLearningRates: number[];
  seeds: number[];
  methods: Method[];
  /** Ablations, one seed each. */
  variants: Method[];
  kl: { samples: number; maxTokens: number };
};

export const METHODS: Method[] = [
  { name: 'lsif', objective: { objective: 'lsif', reduction: 'mean' } },
  { name: 'ukl', objective: { objective: 'ukl', reduction: 'mean' } },
  { name: 'bce', objective: { objective: 'bce', reduction: 'mean' } },
  { name: 'dpo', objective: { objective: 'dpo', reduction: 'sum', beta: 0.1 } },
  { name: 'sft', objective: { objective: 'sft', reduction: 'mean' } },
];

export const preferenceStudyConfig: PreferenceStudyConfig = {
  warmUpPairs: 200,
  warmUpLearningRate: 1e-4,
  trainPairs: 192,
  heldOutPairs: 64,
  batchPairs: 8,
  maxTokens: 96,
  evaluations: 3,
  learningRate: 2e-5,
  otherLearningRates: [5e-6, 8e-5],
  seeds: [1, 2, 3],
  methods: METHODS,
  variants: [
    { name: 'lsif, sum', objective: { objective: 'lsif', reduction: 'sum', beta: 1 } },
    { name: 'dpo, mean, β 1', objective: { objective: 'dpo', reduction: 'mean', beta: 1 } },
  ],
  kl: { samples: 48, maxTokens: 48 },
};

export type RaterStudyConfig = {
  vocabSize: number;
  responseTokens: number;
  prompts: number;
  /** Standard deviation of the raters' rewards, in logits of a comparison. */
  rewardStd: number;
  steps: number;
  batchPairs: number;
  learningRate: number;
  evaluations: number;
  seeds: number[];
  methods: Method[];
};

export const raterStudyConfig: RaterStudyConfig = {
  vocabSize: 6,
  responseTokens: 3,
  prompts: 4,
  rewardStd: 1.5,
  steps: 500,
  batchPairs: 64,
  learningRate: 1e-3,
  evaluations: 20,
  seeds: [1, 2, 3],
  methods: [
    { name: 'lsif', objective: { objective: 'lsif', reduction: 'sum', negatives: 'both', beta: 1 } },
    { name: 'ukl', objective: { objective: 'ukl', reduction: 'sum', negatives: 'both', beta: 1 } },
    { name: 'bce', objective: { objective: 'bce', reduction: 'sum', negatives: 'both', beta: 1 } },
    { name: 'sft', objective: { objective: 'sft', reduction: 'sum' } },
    { name: 'dpo β 1', objective: { objective: 'dpo', reduction: 'sum', beta: 1 } },
    { name: 'dpo β 0.1', objective: { objective: 'dpo', reduction: 'sum', beta: 0.1 } },
    { name: 'lsif, rejected', objective: { objective: 'lsif', reduction: 'sum', negatives: 'rejected', beta: 1 } },
    { name: 'lsif, mean', objective: { objective: 'lsif', reduction: 'mean', negatives: 'both' } },
  ],
};
