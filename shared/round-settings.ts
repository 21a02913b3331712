// What a round is asked to do, as the API, the command line and the trainer all read it. The shape follows OpenAI's
// fine-tuning jobs: `method: {type: "dil", dil: {…}}`.

import { z } from 'zod';
import { notifyChange } from './database/channels.ts';
import type { Database } from './database/connect.ts';
import { rounds } from './database/schema.ts';
import { newId } from './id.ts';
import { LORA_TARGETS, OBJECTIVES, type Settings } from './settings.ts';

/** What one request may change. An objective of one's own is code, so it comes from the trainer's settings alone. */
const hyperparameters = z.strictObject({
  objective: z.enum(OBJECTIVES).optional(),
  reduction: z.enum(['mean', 'sum']).optional(),
  negatives: z.enum(['rejected', 'both']).optional(),
  beta: z.number().positive().optional(),
  weighting: z.enum(['none', 'importance']).optional(),
  weight_cap: z.number().min(1).optional(),
  max_staleness: z.number().int().min(0).optional(),
  learning_rate: z.number().positive().max(1).optional(),
  lr_schedule: z.enum(['cosine', 'constant']).optional(),
  warm_up: z.number().min(0).max(1).optional(),
  weight_decay: z.number().min(0).max(1).optional(),
  max_grad_norm: z.number().positive().optional(),
  batch_pairs: z.number().int().min(1).max(1024).optional(),
  epochs: z.number().int().min(1).max(100).optional(),
  early_stopping: z.number().int().min(0).optional(),
  max_length: z.number().int().min(2).optional(),
  max_prompt_length: z.number().int().min(1).optional(),
  lora_rank: z.number().int().min(0).max(1024).optional(),
  lora_alpha: z.number().positive().optional(),
  lora_targets: z.array(z.enum(LORA_TARGETS)).min(1).optional(),
  gate_kl: z.number().positive().optional(),
  gate_chosen_drop: z.number().min(0).optional(),
  gate_length: z.number().min(1).optional(),
  gate_repetition: z.number().min(0).max(1).optional(),
  effort: z.number().min(0.1).max(100).optional(),
  seed: z.number().int().min(0).optional(),
});

export const roundMethod = z.strictObject({ type: z.literal('dil'), dil: hyperparameters.optional() });

type Hyperparameters = z.output<typeof hyperparameters>;
/** As a row keeps it: what a command asked for is complete already, and may name an objective of the user's own. */
export type RoundRequest = { [Name in Exclude<keyof Hyperparameters, 'objective'>]?: Hyperparameters[Name] | null } & {
  objective?: string | null;
};

/** How a round trains, complete. `null` where there is no limit. */
export type RoundSettings = ReturnType<typeof completeRoundSettings>;

/** What was not said comes from the settings of the trainer's process, and from the effort where they say nothing. */
export function completeRoundSettings(asked: RoundRequest, settings: Settings) {
  const effort = asked.effort ?? settings.EFFORT;
  const rank = asked.lora_rank ?? settings.LORA_RANK;
  return {
    objective: asked.objective ?? settings.OBJECTIVE,
    reduction: asked.reduction ?? settings.REDUCTION,
    negatives: asked.negatives ?? settings.NEGATIVES,
    beta: asked.beta ?? settings.BETA,
    weighting: asked.weighting ?? settings.WEIGHTING,
    weight_cap: asked.weight_cap ?? settings.WEIGHT_CAP,
    max_staleness: orNone(asked.max_staleness, settings.MAX_STALENESS),
    learning_rate: asked.learning_rate ?? settings.LEARNING_RATE,
    lr_schedule: asked.lr_schedule ?? settings.LR_SCHEDULE,
    warm_up: asked.warm_up ?? settings.WARM_UP,
    weight_decay: asked.weight_decay ?? settings.WEIGHT_DECAY,
    max_grad_norm: asked.max_grad_norm ?? settings.MAX_GRAD_NORM,
    batch_pairs: asked.batch_pairs ?? settings.BATCH_PAIRS,
    epochs: asked.epochs ?? settings.EPOCHS ?? Math.max(1, Math.round(effort)),
    early_stopping: asked.early_stopping ?? settings.EARLY_STOPPING,
    max_length: orNone(asked.max_length, settings.MAX_LENGTH),
    max_prompt_length: orNone(asked.max_prompt_length, settings.MAX_PROMPT_LENGTH),
    lora_rank: rank,
    lora_alpha: asked.lora_alpha ?? settings.LORA_ALPHA ?? 2 * rank,
    lora_targets: asked.lora_targets ?? settings.LORA_TARGETS,
    gate_kl: asked.gate_kl ?? settings.GATE_KL,
    gate_chosen_drop: asked.gate_chosen_drop ?? settings.GATE_CHOSEN_DROP,
    gate_length: asked.gate_length ?? settings.GATE_LENGTH,
    gate_repetition: asked.gate_repetition ?? settings.GATE_REPETITION,
    effort,
    seed: asked.seed ?? settings.SEED,
  };
}

/** A limit that a round was asked to have, or to do without; else the setting's. */
function orNone(asked: number | null | undefined, setting: number | undefined): number | null {
  return asked === undefined ? (setting ?? null) : asked;
}

/** Queues a round and tells the trainers. */
export async function requestRound(
  db: Database,
  trigger: 'schedule' | 'api' | 'command',
  asked: RoundRequest,
): Promise<typeof rounds.$inferSelect> {
  return db.transaction(async (transaction) => {
    const [row] = await transaction
      .insert(rounds)
      .values({ id: newId('round_'), trigger, settings: asked })
      .returning();
    await notifyChange(transaction, row!.id);
    return row!;
  });
}
