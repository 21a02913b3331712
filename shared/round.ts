// What a round is asked to do, as the API, the command line and the trainer all read it. The shape follows OpenAI's
// fine-tuning jobs: `method: {type: "dil", dil: {…}}`.

import { sql } from 'drizzle-orm';
import { z } from 'zod';
import type { Database } from './database/connect.ts';
import { rounds } from './database/schema.ts';
import { newId } from './id.ts';
import { NEWS } from './policy/registry.ts';
import type { Settings } from './settings.ts';

const hyperparameters = z.strictObject({
  objective: z.enum(['lsif', 'ukl', 'bce', 'dpo', 'sft']).optional(),
  reduction: z.enum(['mean', 'sum']).optional(),
  negatives: z.enum(['rejected', 'both']).optional(),
  beta: z.number().positive().optional(),
  learning_rate: z.number().positive().max(1).optional(),
  batch_pairs: z.number().int().min(1).max(1024).optional(),
  epochs: z.number().int().min(1).max(100).optional(),
  seed: z.number().int().min(0).optional(),
});

export const roundMethod = z.strictObject({ type: z.literal('dil'), dil: hyperparameters.optional() });

/** How a round trains; what was not said comes from the settings of the trainer's process. */
export type RoundSettings = Required<z.output<typeof hyperparameters>>;
export type RoundRequest = z.output<typeof hyperparameters>;

export function completeRoundSettings(asked: RoundRequest, settings: Settings): RoundSettings {
  return {
    objective: asked.objective ?? settings.OBJECTIVE,
    reduction: asked.reduction ?? settings.REDUCTION,
    negatives: asked.negatives ?? settings.NEGATIVES,
    beta: asked.beta ?? settings.BETA,
    learning_rate: asked.learning_rate ?? settings.LEARNING_RATE,
    batch_pairs: asked.batch_pairs ?? settings.BATCH_PAIRS,
    epochs: asked.epochs ?? settings.EPOCHS,
    seed: asked.seed ?? settings.SEED,
  };
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
    await transaction.execute(sql`select pg_notify(${NEWS}, ${row!.id})`);
    return row!;
  });
}
