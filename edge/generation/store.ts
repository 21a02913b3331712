// Stores generated completions: a row with what the choices share, and a row for each choice.

import type { Prompt } from '../../shared/chat-message.ts';
import type { Database } from '../../shared/database/connect.ts';
import { completions, generations } from '../../shared/database/schema.ts';
import type { FinishEvent } from '../engine/inference.ts';
import type { PreparedCompletion } from './prepare.ts';

export type CompletionRow = typeof completions.$inferInsert;
export type GenerationRow = typeof generations.$inferInsert;

/** Commits completions with their choices, in one statement: all or nothing. The response is sent only after this. */
export async function storeCompletions(
  db: Pick<Database, '$with' | 'with' | 'insert'>,
  results: { completion: PreparedCompletion; rows: GenerationRow[] }[],
): Promise<void> {
  const stored = results.filter(({ rows }) => rows.length > 0);
  if (stored.length === 0) return;
  const insertCompletions = db
    .insert(completions)
    .values(stored.map(({ completion }) => toCompletionRow(completion)))
    .returning({ id: completions.id });
  await db
    .with(db.$with('stored').as(insertCompletions))
    .insert(generations)
    .values(stored.flatMap(({ rows }) => rows));
}

export function toCompletionRow(completion: PreparedCompletion) {
  const { request, policy, ranker, promptIds, candidates, sampling, redacted } = completion;
  return {
    id: completion.id,
    kind: request.kind,
    policy_id: policy.id,
    prompt: getPrompt(completion),
    prompt_token_ids: redacted?.prompt ? [] : promptIds,
    // What a ranker selected or a format restricted is no sample of the policy: the trainer looks for these two.
    sampling: {
      ...sampling,
      ...(ranker ? { best_of: candidates, ranker: ranker.name } : {}),
      ...(request.responseFormat ? { response_format: request.responseFormat } : {}),
    },
    seed: sampling.seed,
    user: request.user,
    metadata: request.metadata,
    regenerated_from: request.regeneratedFrom ?? null,
    canary_id: request.canaryId ?? null,
    redacted: redacted !== undefined,
    ...request.owner,
    erased_at: null,
    created_at: new Date(completion.created * 1000),
  } satisfies CompletionRow;
}

/** With text in place of given token ids. */
export function getPrompt({ request, policy, promptIds }: PreparedCompletion): Prompt {
  return request.promptIds ? toStorable(policy.tokenizer.decode(promptIds)) : request.prompt;
}

export function toGenerationRow(completion: PreparedCompletion, choice: number, finish: FinishEvent): GenerationRow {
  return {
    id: completion.ids[choice]!,
    completion_id: completion.id,
    choice,
    text: finish.text,
    token_ids: finish.tokenIds,
    logps: finish.logprobs,
    stop_token: finish.stop?.tokenId ?? null,
    finish_reason: finish.finishReason,
  };
}

/** Postgres cannot store NUL in a text; U+FFFD takes its place. */
export function toStorable(text: string): string {
  return text.replaceAll('\0', '\uFFFD');
}
