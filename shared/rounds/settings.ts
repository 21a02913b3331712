// The settings of a round, as the API, the command line and the trainer read them. The shape follows OpenAI's
// fine-tuning jobs: `method: {type: "dil", dil: {…}}`.

import { z } from 'zod';
import type { RoundMethod } from '../database/round-types.ts';
import { AttuneError } from '../error.ts';
import {
  defaultBeta,
  getPreset,
  type Hyperparameters,
  hyperparametersSchema,
  OBJECTIVES,
  unwrapSchema,
} from '../hyperparameters.ts';
import type { Settings } from '../settings.ts';

/** A complete request, or the part of the hyperparameters that it overrides. */
export type RoundRequest = Partial<Hyperparameters>;

const names = Object.keys(hyperparametersSchema.shape) as (keyof Hyperparameters)[];

const POLICY_SETTINGS = names.filter((name) => !name.startsWith('reward_'));

const REWARD_SETTINGS = [
  'effort',
  'reward_loss',
  'negatives',
  'max_staleness',
  'max_similarity',
  'contradictions',
  'min_agreement',
  'reward_learning_rate',
  'lr_schedule',
  'warm_up',
  'weight_decay',
  'max_grad_norm',
  'batch_pairs',
  'epochs',
  'early_stopping',
  'max_length',
  'max_prompt_length',
  'lora_rank',
  'lora_alpha',
  'lora_targets',
  'seed',
] as const satisfies (keyof Hyperparameters)[];

/** Complete. `null`: no limit. */
export type RoundSettings = Hyperparameters & { beta: number; epochs: number; lora_alpha: number };

/** A request through the API: a custom objective is code, so only the trainer's own settings may name one. */
const requestFields: Partial<Record<keyof Hyperparameters, z.ZodType>> = {
  ...Object.fromEntries(names.map((name) => [name, toOptional(hyperparametersSchema.shape[name])])),
  objective: z.enum(OBJECTIVES).optional(),
  lora_rank: z.number().int().min(0).max(1024).optional(),
};

const toRequestSchema = (fields: readonly (keyof Hyperparameters)[]) =>
  z.strictObject(Object.fromEntries(fields.map((name) => [name, requestFields[name]!]))) as z.ZodType<RoundRequest>;

const policyRequest = toRequestSchema(POLICY_SETTINGS).refine(
  ({ objective, reward }) => !reward || objective === undefined || objective === 'distill',
  { path: ['reward'], error: 'only the objective distill uses a reward; leave it out' },
);

const rewardRequest = toRequestSchema(REWARD_SETTINGS).refine(
  ({ reward_loss, negatives }) => !(reward_loss === 'bradley_terry' && negatives === 'both'),
  { path: ['negatives'], error: 'bradley_terry contrasts the two responses of a pair; use rejected, or density_ratio' },
);

export const roundMethod = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('dil'), dil: policyRequest.optional() }),
  z.strictObject({ type: z.literal('reward'), reward: rewardRequest.optional() }),
]);

/** The settings that a round of this method uses, for its row. */
export function listMethodSettings(method: RoundMethod, settings: RoundSettings): RoundRequest {
  const used = method === 'dil' ? POLICY_SETTINGS : REWARD_SETTINGS;
  return Object.fromEntries(used.map((name) => [name, settings[name]]));
}

function toOptional(schema: z.ZodType): z.ZodType {
  return unwrapSchema(schema).optional().describe(schema.description!);
}

/** The settings of a round's row: a request, or all of them once a trainer has completed it. */
const storedSchema: z.ZodType = z.strictObject({
  ...Object.fromEntries(
    names.map((name) => {
      const schema: z.ZodType = hyperparametersSchema.shape[name];
      return [name, (schema instanceof z.ZodDefault ? (schema.unwrap() as z.ZodType) : schema).optional()];
    }),
  ),
  // 0 without adapters.
  lora_alpha: z.number().min(0).nullable().optional(),
});

/** Throws AttuneError for a row that another version, or someone by hand, has written differently. */
export function parseRoundRequest({ id, settings }: { id: string; settings: unknown }): RoundRequest {
  const parsed = storedSchema.safeParse(settings);
  if (parsed.success) return parsed.data as RoundRequest;
  const problems = parsed.error.issues.map(({ path, message }) => [...path, message].join(': '));
  throw new AttuneError(`${id}: its settings are invalid (${problems.join('; ')}); request another round`, {
    code: 'invalid_settings',
  });
}

/** Completes a request from the trainer's settings; derives beta, epochs and lora_alpha if neither sets them. */
export function completeRoundSettings(request: RoundRequest, settings: Settings): RoundSettings {
  const requested = request.preset ? { ...getPreset(request.preset), ...request } : request;
  const values = Object.fromEntries(
    names.map((name) => [name, requested[name] === undefined ? settings[toVariable(name)] : requested[name]]),
  ) as Hyperparameters;
  const { objective, negatives } = values;
  // Distillation is about whole responses, whatever the trainer's own setting.
  const reduction = objective === 'distill' ? (request.reduction ?? 'sum') : values.reduction;
  return {
    ...values,
    reduction,
    negatives: objective === 'distill' ? (request.negatives ?? 'rejected') : negatives,
    beta: values.beta ?? defaultBeta({ reduction }),
    epochs: values.epochs ?? Math.max(1, Math.round(values.effort)),
    lora_alpha: values.lora_alpha ?? 2 * values.lora_rank,
  };
}

function toVariable<Name extends string>(name: Name): Uppercase<Name> {
  return name.toUpperCase() as Uppercase<Name>;
}
