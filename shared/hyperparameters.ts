// The hyperparameters of a round: one table of name, bounds, default and description. The environment variables
// (LEARNING_RATE for learning_rate; shared/settings.ts), the body of POST /v1/rounds and the settings that a round
// stores (shared/rounds/settings.ts) are derived from it. The names follow TRL if it has the same parameter.

import { z } from 'zod';

export const OBJECTIVES = ['lsif', 'ukl', 'bce', 'dpo', 'sft', 'distill'] as const;
export const REWARD_LOSSES = ['bradley_terry', 'density_ratio'] as const;
export const PRESET_NAMES = ['default', 'paper'] as const;
/** The projections of a decoder layer that can have an adapter, by the last part of their names. */
export const LORA_TARGETS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;

const integer = (min: number) => z.number().int().min(min);
const positive = z.number().positive();
const fraction = z.number().min(0).max(1);

/** Whether an objective is the path of a module with a custom divergence (trainer/divergence.ts). */
export function isObjectiveModule(objective: string): boolean {
  return /\.[cm]?[jt]s$/.test(objective);
}

export const hyperparametersSchema = z.object({
  effort: z
    .number()
    .min(0.1)
    .max(100)
    .default(1)
    .describe('scales the pairs, evaluations and samples of a round, and its epochs unless EPOCHS is set'),
  preset: z
    .enum(PRESET_NAMES)
    .default('default')
    .describe('paper: the settings of the DIL paper’s released code, except those that are set themselves'),
  objective: z
    .string()
    .refine(
      (name) => (OBJECTIVES as readonly string[]).includes(name) || isObjectiveModule(name),
      `give one of ${OBJECTIVES.join(', ')}, or the path of a .ts or .js file with a convex h`,
    )
    .default('bce')
    .describe(`loss: ${OBJECTIVES.join(', ')}, or the path of a module with a convex h`),
  reduction: z
    .enum(['mean', 'sum'])
    .default('sum')
    .describe('mean or sum of the tokens’ log-ratios: the log-ratio of a response'),
  negatives: z
    .enum(['rejected', 'both'])
    .default('rejected')
    .describe('rejected or both: the responses used as samples of the reference'),
  reference: z
    .enum(['root', 'parent'])
    .default('root')
    .describe(
      'the frozen policy that log-ratios are against: the first of the line, or the one that the round starts from',
    ),
  beta: positive
    .nullable()
    .default(null)
    .describe(
      'β, by which log-ratios are multiplied: the smaller, the farther a policy goes from its reference for the same preferences; default: 0.1 with the reduction sum, 1 with mean',
    ),
  reward: z
    .string()
    .regex(/^rwd_[0-9a-f]{32}$/, 'give the id of a reward: rwd_…')
    .nullable()
    .default(null)
    .describe('id of the reward that distill distils into the policy'),
  reward_loss: z
    .enum(REWARD_LOSSES)
    .default('bradley_terry')
    .describe('bradley_terry or density_ratio: the loss of a reward (attune train --reward)'),
  reward_learning_rate: positive
    .max(1)
    .default(5e-4)
    .describe('peak learning rate of a reward, whose head starts at 0'),
  weighting: z
    .enum(['none', 'importance'])
    .default('none')
    .describe('none or importance: weights each negative by its likelihood ratio, reference over sampler'),
  weight_cap: z
    .number()
    .min(1)
    .default(2)
    .describe('largest importance weight; the weights average 1, so 1 turns them off'),
  max_staleness: integer(0)
    .nullable()
    .default(null)
    .describe('leaves out pairs sampled more than this many policies before the active one; default: no limit'),
  max_similarity: fraction
    .default(1)
    .describe('leaves out training pairs whose two responses are more alike, by edit distance; 1: none'),
  contradictions: z
    .enum(['keep', 'weigh', 'drop'])
    .default('keep')
    .describe(
      'keep, weigh or drop training pairs that were chosen both ways; weigh: a vote cancels one for the other side',
    ),
  min_agreement: fraction
    .default(0)
    .describe('leaves out training pairs of several raters of whom a smaller fraction agrees; 0: none'),
  learning_rate: positive.max(1).default(2e-5).describe('peak learning rate'),
  lr_schedule: z
    .enum(['cosine', 'constant'])
    .default('cosine')
    .describe('cosine or constant: learning rate after the warm-up'),
  warm_up: fraction.default(0.1).describe('fraction of the steps over which the learning rate rises'),
  weight_decay: fraction.default(0).describe('decoupled weight decay of matrices'),
  max_grad_norm: positive.default(1).describe('gradients with a larger norm are clipped to it'),
  batch_pairs: integer(1).max(1024).default(8).describe('pairs per optimizer step'),
  epochs: integer(1)
    .max(100)
    .nullable()
    .default(null)
    .describe('passes over the training pairs; default: EFFORT, rounded'),
  early_stopping: integer(0)
    .default(3)
    .describe('stops after this many evaluations without a better held-out loss; 0: never'),
  max_length: integer(2)
    .nullable()
    .default(null)
    .describe('tokens of a prompt with its response; default: the context length'),
  max_prompt_length: integer(1)
    .nullable()
    .default(null)
    .describe('tokens of a prompt, which is truncated from the left; default: no limit'),
  lora_rank: integer(0).default(0).describe('trains low-rank adapters of this rank; 0: all weights'),
  lora_alpha: positive
    .nullable()
    .default(null)
    .describe('α of the adapters, which are scaled by α/rank; default: twice the rank'),
  lora_targets: z
    .array(z.enum(LORA_TARGETS))
    .min(1)
    .default([...LORA_TARGETS])
    .describe('projections that get an adapter, separated by commas'),
  gate_kl: positive.default(50).describe('gate: maximum KL to the root, in nats per response'),
  gate_chosen_drop: z
    .number()
    .min(0)
    .default(0.3)
    .describe('gate: maximum drop of the log-probability of chosen responses, in nats per token'),
  gate_length: z
    .number()
    .min(1)
    .default(1.5)
    .describe('gate: maximum factor by which responses become longer or shorter'),
  gate_repetition: fraction.default(0.1).describe('gate: maximum growth of the share of repeated 4-grams'),
  seed: integer(0).default(0).describe('seed of the pair order, the adapter initialization and the sampling'),
});

/** The settings of the paper's released code (Xiao et al., arXiv 2503.05079) that decide what is learned. */
const PAPER = {
  objective: 'lsif',
  reduction: 'mean',
  negatives: 'rejected',
  reference: 'root',
  beta: 1,
  weighting: 'none',
  learning_rate: 2e-5,
  lr_schedule: 'cosine',
  warm_up: 0.1,
} as const;

/** The hyperparameters that a preset decides, unless they are set themselves. */
export function getPreset(name: (typeof PRESET_NAMES)[number]): Partial<Hyperparameters> {
  if (name === 'paper') return PAPER;
  const defaults = hyperparametersSchema.parse({});
  return Object.fromEntries(Object.keys(PAPER).map((key) => [key, defaults[key as keyof Hyperparameters]]));
}

/** `null`: no limit, or derived from another one. */
export type Hyperparameters = z.output<typeof hyperparametersSchema>;

/** A log-ratio that is averaged over tokens is shorter by the length of the response than one that is summed. */
export function defaultBeta({ reduction }: Pick<Hyperparameters, 'reduction'>): number {
  return reduction === 'sum' ? 0.1 : 1;
}

/** A hyperparameter's schema without its default and without null. */
export function unwrapSchema(schema: z.ZodType): z.ZodType {
  return schema instanceof z.ZodDefault || schema instanceof z.ZodNullable
    ? unwrapSchema(schema.unwrap() as z.ZodType)
    : schema;
}
