// Stores a preference: between the sides of a comparison, between two generations, or between two given texts. An edit of the
// chosen side becomes a second one.

import { and, asc, eq, inArray, isNotNull, isNull, or } from 'drizzle-orm';
import type { Owner } from '../../shared/access/owner.ts';
import type { Prompt } from '../../shared/chat-message.ts';
import { isSteered, type StoredGeneration, selectGenerations } from '../../shared/database/generations.ts';
import { type Choice, comparisons, completions, generations, preferences } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import { isUniqueViolation } from '../../shared/postgres-errors.ts';
import { hashJudgment, type Judgment } from '../../shared/preferences/hash-judgment.ts';
import {
  assertDetailsFit,
  type PreferenceRow,
  type StoredVote,
  storeEdit,
  type VoteDetails,
} from '../../shared/preferences/vote-details.ts';
import type { ComparisonRow } from '../comparisons/generate-sides.ts';
import type { Transaction } from '../http/idempotency.ts';
import { isVisible } from '../http/pagination.ts';
import { findOr404 } from '../http/resource.ts';

/** As the API's body, whose rules hold. */
export type GivenPreference = {
  comparison?: string | undefined;
  choice?: Choice | undefined;
  chosen?: string | undefined;
  rejected?: string | undefined;
  prompt?: string | undefined;
  messages?: Exclude<Prompt, string> | undefined;
  metadata?: Record<string, unknown> | null | undefined;
};

/** Who votes, and what about. `readable`: the tenant whose comparisons and generations it may be; null: any. */
export type Voter = Owner & {
  rater: string;
  readable: string | null;
  assertMayGive: () => void;
  /** Throws if the voter may not vote on this comparison; default: on any that is readable. */
  assertMayVote?: (comparison: ComparisonRow) => Promise<void>;
};

/** Whether the sides are texts, and no ids of generations. */
export function hasTexts({ prompt, messages }: GivenPreference): boolean {
  return prompt !== undefined || messages !== undefined;
}

/**
 * `isRedacted`: something in the body or the details was. `reservation_id`: of the queue's item that is voted on; a comparison of a
 * queue takes no other votes.
 */
export async function storePreference(
  transaction: Transaction,
  body: GivenPreference,
  isRedacted: boolean,
  voter: Voter,
  { reservation_id = null, edit, ...details }: VoteDetails & { reservation_id?: string | null } = {},
): Promise<StoredVote> {
  const { redacted, tenant, ...input } = body.comparison
    ? await fromComparison(transaction, body, voter, reservation_id)
    : hasTexts(body)
      ? { ...fromTexts(body), tenant: voter.tenant }
      : await fromGenerations(transaction, body, voter);
  assertDetailsFit(input.choice, { ...details, edit });
  const vote: PreferenceRow = {
    id: newId('pref_'),
    metadata: body.metadata ?? null,
    redacted: isRedacted || redacted,
    content_hash: hashJudgment({ ...input, rater: voter.rater }),
    vote_hash: body.comparison ? null : hashVote(input),
    strength: details.strength ?? null,
    tags: details.tags ?? [],
    comment: details.comment ?? null,
    seconds: details.seconds ?? null,
    reservation_id,
    edit_of: null,
    erased_at: null,
    created_at: new Date(),
    rater: voter.rater,
    tenant,
    created_by: voter.created_by,
    ...input,
  };
  try {
    await transaction.insert(preferences).values(vote);
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    const [param, what] = body.comparison ? ['comparison', body.comparison] : ['chosen', 'these two responses'];
    throw alreadyVoted(param, vote.rater, what);
  }
  return { vote, demonstration: edit == null ? null : await storeEdit(transaction, vote, edit, isRedacted) };
}

/** Of two texts in any order: a rater who prefers each of them has voted twice. */
function hashVote({ prompt, chosen, rejected }: Pick<PreferenceInput, 'prompt' | 'chosen' | 'rejected'>): string {
  return hashContent({ prompt, sides: [chosen, rejected].sort() });
}

type PreferenceInput = Omit<Judgment, 'rater'> & Pick<PreferenceRow, 'redacted' | 'tenant'>;

/** The copy of its texts stays with the tenant of the comparison, also if an administrator votes on it. */
async function fromComparison(
  transaction: Transaction,
  body: GivenPreference,
  { readable, rater, assertMayVote }: Voter,
  reservationId: string | null,
): Promise<PreferenceInput> {
  const row = await findOr404(transaction, comparisons, 'comparison', body.comparison!, readable, 'comparison');
  await assertMayVote?.(row);
  if (row.queue_id !== null && reservationId === null) throw queuedComparison('comparison', row.queue_id);
  const [chosenId, rejectedId] =
    body.choice === 'b' ? [row.b_generation_id, row.a_generation_id] : [row.a_generation_id, row.b_generation_id];
  const [chosen, rejected] = await findSides(transaction, chosenId, rejectedId, readable);
  if (reservationId === null)
    await assertNewPair(transaction, 'generations', [chosenId, rejectedId], rater, ['comparison', row.id]);
  return {
    source: 'comparison',
    comparison_id: row.id,
    choice: body.choice!,
    prompt: row.prompt,
    chosen: chosen.text,
    rejected: rejected.text,
    chosen_generation_id: chosenId,
    rejected_generation_id: rejectedId,
    redacted: chosen.redacted || rejected.redacted,
    tenant: row.tenant,
  };
}

async function fromGenerations(
  transaction: Transaction,
  body: GivenPreference,
  { readable, rater, assertMayGive }: Voter,
): Promise<PreferenceInput> {
  const [chosen, rejected] = await findSides(transaction, body.chosen!, body.rejected!, readable);
  const queueId = await findQueueOf(transaction, [chosen.id, rejected.id]);
  if (queueId !== null) throw queuedComparison('chosen', queueId);
  await assertNewPair(transaction, 'comparison', [chosen.id, rejected.id], rater, ['chosen', 'these two responses']);
  if (identifyPrompt(chosen) !== identifyPrompt(rejected))
    throw new AttuneError(
      'rejected: its prompt differs from that of chosen; a preference compares two generations from one prompt',
      { param: 'rejected', code: 'different_prompts' },
    );
  if (chosen.tenant !== rejected.tenant)
    throw new AttuneError('rejected: is of another tenant than chosen; compare two generations of one tenant', {
      param: 'rejected',
      code: 'different_tenants',
    });
  if (isSteered(chosen) || isSteered(rejected)) assertMayGive();
  return {
    source: 'generations',
    comparison_id: null,
    choice: 'a',
    prompt: chosen.prompt,
    chosen: chosen.text,
    rejected: rejected.text,
    chosen_generation_id: chosen.id,
    rejected_generation_id: rejected.id,
    redacted: chosen.redacted || rejected.redacted,
    tenant: chosen.tenant,
  };
}

/** The queue whose raters are asked about one of these generations: a vote from elsewhere would answer for them. */
export async function findQueueOf(
  transaction: Pick<Transaction, 'select'>,
  generationIds: string[],
): Promise<string | null> {
  const { a_generation_id: a, b_generation_id: b, queue_id } = comparisons;
  const [row] = await transaction
    .select({ queue_id })
    .from(comparisons)
    .where(and(or(inArray(a, generationIds), inArray(b, generationIds)), isNotNull(queue_id)))
    .limit(1);
  return row?.queue_id ?? null;
}

/** Throws if the rater has voted on these two responses in the other way: by their comparison, or by their ids. */
async function assertNewPair(
  transaction: Transaction,
  source: 'comparison' | 'generations',
  generationIds: [string, string],
  rater: string,
  [param, what]: [param: string, what: string],
): Promise<void> {
  const { chosen_generation_id: chosen, rejected_generation_id: rejected } = preferences;
  const [earlier] = await transaction
    .select({ id: preferences.id })
    .from(preferences)
    .where(
      and(
        inArray(chosen, generationIds),
        inArray(rejected, generationIds),
        eq(preferences.source, source),
        eq(preferences.rater, rater),
        isNull(preferences.erased_at),
      ),
    )
    .limit(1);
  if (earlier) throw alreadyVoted(param, rater, what);
}

function alreadyVoted(param: string, rater: string, what: string): AttuneError {
  return new AttuneError(
    `${param}: rater ${JSON.stringify(rater)} has already voted on ${what}; each rater votes once`,
    { status: 409, param, code: 'already_voted', retry: false },
  );
}

/** By its tokens, which a redacted prompt does not have. */
function identifyPrompt({
  prompt,
  prompt_token_ids: ids,
}: Pick<StoredGeneration, 'prompt' | 'prompt_token_ids'>): string {
  return JSON.stringify(ids.length > 0 ? ids : prompt);
}

function fromTexts(body: GivenPreference): Omit<PreferenceInput, 'tenant'> {
  return {
    source: 'raw',
    comparison_id: null,
    choice: 'a',
    prompt: body.messages ?? body.prompt!,
    chosen: body.chosen!,
    rejected: body.rejected!,
    chosen_generation_id: null,
    rejected_generation_id: null,
    redacted: false,
  };
}

export function queuedComparison(param: string, queueId: string): AttuneError {
  return new AttuneError(
    `${param}: is an item of a queue; vote through a reservation of queue ${queueId}: POST /v1/queues/${queueId}/next`,
    { status: 409, param, code: 'queued_comparison', retry: false },
  );
}

async function findSides(transaction: Transaction, chosenId: string, rejectedId: string, readable: string | null) {
  const isSide = inArray(generations.id, [chosenId, rejectedId]);
  // Until the vote is committed they are neither erased nor deleted, so that no copy of their texts is left.
  const rows = await selectGenerations(transaction)
    .where(and(isSide, isVisible(completions, readable)))
    .orderBy(asc(completions.id))
    .for('share', { of: completions });
  const find = (id: string, param: string) => {
    const row = rows.find((candidate) => candidate.id === id);
    if (!row)
      throw new AttuneError(
        `${param}: there is no stored generation ${id}; give a generation id, or the prompt and both texts`,
        { status: 404, param, code: 'not_found' },
      );
    return row;
  };
  return [find(chosenId, 'chosen'), find(rejectedId, 'rejected')] as const;
}
