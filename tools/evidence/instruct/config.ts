// The study of one round on a real instruct policy and real preferences: every objective in its usual form, at the
// learning rate that its validation picks, beside TRL's DPOTrainer with the same pairs, steps and schedule.
import { hyperparametersSchema } from '../../../shared/hyperparameters.ts';
import { parseObjective } from '../../../trainer/objectives.ts';
import type { OnlineMethod } from '../online/config.ts';

export type InstructConfig = {
  trainPairs: number;
  validationPairs: number;
  testPairs: number;
  batchPairs: number;
  /** Of a prompt and its longer response; longer pairs are skipped. */
  maxTokens: number;
  learningRates: number[];
  methods: OnlineMethod[];
  rollouts: { samples: number; maxTokens: number };
  seed: number;
};

const plain = { negatives: 'rejected', weighting: 'none', reference: 'root', beta: 1 } as const;

const { objective, reduction, negatives, weighting, beta } = parseObjective({});

/** That of a round without settings. */
export const DEFAULT_METHOD: OnlineMethod = {
  objective: objective as OnlineMethod['objective'],
  reduction,
  negatives,
  weighting,
  reference: hyperparametersSchema.parse({}).reference,
  beta,
};

export const instructConfig: InstructConfig = {
  trainPairs: 320,
  validationPairs: 64,
  testPairs: 240,
  batchPairs: 8,
  maxTokens: 256,
  learningRates: [5e-6, 2e-5],
  methods: [
    DEFAULT_METHOD,
    { ...plain, objective: 'dpo', reduction: 'sum', beta: 0.1 },
    { ...plain, objective: 'lsif', reduction: 'mean' },
    { ...plain, objective: 'bce', reduction: 'sum' },
    { ...plain, objective: 'bce', reduction: 'mean' },
    { ...plain, objective: 'bce', reduction: 'mean', negatives: 'both' },
    { ...plain, objective: 'ukl', reduction: 'mean' },
    { ...plain, objective: 'sft', reduction: 'mean' },
  ],
  rollouts: { samples: 48, maxTokens: 96 },
  seed: 1,
};
