// A response that its user had generated again, and so did not keep. The new one names it; under IMPLICIT_PAIRS the new one over
// the old one is a preference of its own source, stored together with the new one.

import { and, eq } from 'drizzle-orm';
import type { Context } from 'hono';
import { isSteered, selectGenerations } from '../../shared/database/generations.ts';
import { completions, generations, preferences } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import { hashJudgment } from '../../shared/preferences/hash-judgment.ts';
import { redactPrompt } from '../../shared/redaction/redact.ts';
import { hasScope } from '../../shared/scopes.ts';
import { notFound } from '../http/errors.ts';
import type { Transaction } from '../http/idempotency.ts';
import { isVisible } from '../http/pagination.ts';
import { getCallerId, getScopes, getTenant } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import type { PlacedRequest } from './prepare.ts';
import type { CompletionResult } from './select-choices.ts';
import { toStorable } from './store.ts';

/** Throws unless the request is for the prompt of that generation, which the caller's tenant has. */
export async function assertRegenerates(
  { db, redact }: Ports,
  context: Context,
  requests: PlacedRequest[],
  oldId: string | null | undefined,
): Promise<void> {
  if (oldId == null) return;
  const param = 'regenerated_from';
  const refuse = (problem: string, code: string) => new AttuneError(`${param}: ${problem}`, { param, code });
  const [placed, ...others] = requests;
  const { policy, request } = placed!;
  if (others.length > 0) throw refuse('is for one prompt; send the others in requests of their own', 'invalid_value');
  if (!request.store) throw refuse('is stored with the completion; omit store: false', 'invalid_value');
  const [old] = await selectGenerations(db).where(isOf(oldId, getTenant(context)));
  if (!old) throw notFound('generation', oldId, param);
  const prompt = request.promptIds ? toStorable(policy.tokenizer.decode(request.promptIds)) : request.prompt;
  // What is stored of the old one was redacted.
  if (hashContent(await redactPrompt(redact, prompt)) !== hashContent(old.prompt))
    throw refuse(`is of another prompt; a regenerated response has the prompt of the first`, 'different_prompts');
}

/**
 * How many preferences it has stored: none if the old response has a pair already, if more than one choice was generated, of
 * which nobody knows the one that is kept, or if a request decided what either text says.
 */
export async function storeImplicitPair(
  transaction: Transaction,
  { settings }: Ports,
  context: Context,
  [result]: CompletionResult[],
): Promise<number> {
  if (settings.IMPLICIT_PAIRS === 'off') return 0;
  const { completion, rows } = result!;
  const { regeneratedFrom: oldId, owner, user } = completion.request;
  if (oldId == null || rows.length !== 1) return 0;
  const [old] = await selectGenerations(transaction).where(isOf(oldId, owner.tenant)).for('share', { of: completions });
  const [kept] = await selectGenerations(transaction).where(eq(generations.id, rows[0]!.id));
  // It was erased meanwhile, or says the same.
  if (!old || !kept || old.text === kept.text || isSteered(old) || isSteered(kept)) return 0;
  const judgment = {
    source: 'implicit' as const,
    comparison_id: null,
    choice: 'a' as const,
    prompt: kept.prompt,
    chosen: kept.text,
    rejected: old.text,
    chosen_generation_id: kept.id,
    rejected_generation_id: old.id,
    // As in a vote, only who may name end users votes as them.
    rater: user !== null && hasScope(getScopes(context), ['feedback']) ? `user:${user}` : getCallerId(context),
  };
  const stored = await transaction
    .insert(preferences)
    .values({
      id: newId('pref_'),
      ...judgment,
      content_hash: hashJudgment(judgment),
      redacted: old.redacted || kept.redacted,
      ...owner,
    })
    .onConflictDoNothing()
    .returning({ id: preferences.id });
  return stored.length;
}

function isOf(id: string, tenant: string) {
  return and(eq(generations.id, id), isVisible(completions, tenant));
}
