// A chat completion whose two choices are the sides of a comparison, so that a chat product can show both and send a vote. Both
// are samples of one policy, whose order says nothing, so the first choice is side a: there is nothing to shuffle.

import type { Context } from 'hono';
import { comparisons } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import { drawUniform } from '../../shared/random.ts';
import type { Settings } from '../../shared/settings.ts';
import type { Transaction } from '../http/idempotency.ts';
import { getCaller } from '../middleware/auth.ts';
import { getRanker, type SamplingFields } from './sampling-fields.ts';
import type { CompletionResult } from './select-choices.ts';

type ComparableBody = Pick<SamplingFields, 'response_format' | 'logit_bias'> & {
  compare?: boolean | null | undefined;
  n?: number | null | undefined;
  best_of?: number | null | undefined;
  ranker?: string | null | undefined;
  store?: boolean | null | undefined;
  logprobs?: boolean | null | undefined;
  regenerated_from?: string | null | undefined;
};

/** The id of the comparison that the completion is to be; null: it is none. Throws if the request contradicts itself. */
export function offerComparison(body: ComparableBody, context: Context, settings: Settings): string | null {
  if (body.compare) assertComparable(body);
  else if (body.compare === false || !isSelected(body, context, settings)) return null;
  return newId('cmp_');
}

function assertComparable(body: ComparableBody): void {
  const refuse = (param: string, problem: string) =>
    new AttuneError(`${param}: ${problem}`, { param, code: 'invalid_value' });
  if (body.n != null && body.n > 2)
    throw refuse('n', `is ${body.n}, and a comparison has two choices; omit n, or give 2`);
  if (body.store === false) throw refuse('store', 'a comparison is stored to be voted on; omit store: false');
  if (body.best_of != null || getRanker(body) !== null)
    throw refuse(body.best_of == null ? 'ranker' : 'best_of', 'a comparison shows what the policy samples; omit it');
}

/** Of the requests that say nothing about their choices and take any text, COMPARE_SHARE. */
function isSelected(body: ComparableBody, context: Context, { COMPARE_SHARE: share }: Settings): boolean {
  const { n, best_of, response_format, logit_bias, regenerated_from } = body;
  const isPlain = [n, best_of, response_format, logit_bias, regenerated_from].every((field) => field == null);
  if (share === 0 || !isPlain || body.store === false || body.logprobs || getRanker(body) !== null) return false;
  // A key that may run one generation at once would be refused.
  if ((getCaller(context).maxConcurrent ?? Infinity) < 2) return false;
  return drawUniform() < share;
}

export async function storeOffered(transaction: Transaction, id: string, [result]: CompletionResult[]): Promise<void> {
  const { completion, rows } = result!;
  const { prompt, metadata, owner } = completion.request;
  const [a_generation_id, b_generation_id] = rows.map((row) => row.id) as [string, string];
  const sides = { a_generation_id, b_generation_id, swapped: false };
  await transaction.insert(comparisons).values({ id, prompt, metadata, ...sides, ...owner });
}
