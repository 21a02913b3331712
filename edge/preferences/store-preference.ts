// Stores a preference: between the sides of a comparison, between two generations, or between two given texts.

import { and, asc, inArray } from 'drizzle-orm';
import type { Owner } from '../../shared/access/owner.ts';
import type { Prompt } from '../../shared/chat-message.ts';
import { isSteered, type StoredGeneration, selectGenerations } from '../../shared/database/generations.ts';
import {
  type Choice,
  comparisons,
  completions,
  generations,
  preferences,
  type Strength,
} from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import { isUniqueViolation } from '../../shared/postgres-errors.ts';
import { hashJudgment } from '../../shared/preferences/hash-judgment.ts';
import type { Transaction } from '../http/idempotency.ts';
import { isVisible } from '../http/pagination.ts';
import { findOr404 } from '../http/resource.ts';

export type PreferenceRow = Omit<typeof preferences.$inferSelect, 'xid'>;

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

/** What a vote says besides its choice. */
export type VoteDetails = {
  strength: Strength | null;
  tags: string[];
  comment: string | null;
  seconds: number | null;
  /** of a queue's item */
  reservation_id: string | null;
  /** a better text in place of the chosen side: a second preference, for it over that side */
  edit: string | null;
};

const NO_DETAILS: VoteDetails = {
  strength: null,
  tags: [],
  comment: null,
  seconds: null,
  reservation_id: null,
  edit: null,
};

/** Who votes, and what about. `readable`: the tenant whose comparisons and generations it may be; null: any. */
export type Voter = Owner & { rater: string; readable: string | null; assertMayGive: () => void };

/** Whether the sides are texts, and no ids of generations. */
export function hasTexts({ prompt, messages }: GivenPreference): boolean {
  return prompt !== undefined || messages !== undefined;
}

/** `isRedacted`: something in the body was. */
export async function storePreference(
  transaction: Transaction,
  body: GivenPreference,
  isRedacted: boolean,
  voter: Voter,
  { edit, ...details }: VoteDetails = NO_DETAILS,
): Promise<PreferenceRow> {
  const { redacted, tenant, ...input } = body.comparison
    ? await fromComparison(transaction, body, voter)
    : hasTexts(body)
      ? { ...fromTexts(body), tenant: voter.tenant }
      : await fromGenerations(transaction, body, voter);
  const row: PreferenceRow = {
    id: newId('pref_'),
    metadata: body.metadata ?? null,
    redacted: isRedacted || redacted,
    content_hash: hashJudgment({ ...input, rater: voter.rater }),
    vote_hash: body.comparison ? null : hashVote(input),
    ...details,
    edit_of: null,
    erased_at: null,
    created_at: new Date(),
    rater: voter.rater,
    tenant,
    created_by: voter.created_by,
    ...input,
  };
  try {
    await transaction.insert(preferences).values(row);
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    const [param, what] = body.comparison ? ['comparison', body.comparison] : ['chosen', 'these two responses'];
    throw new AttuneError(
      `${param}: rater ${JSON.stringify(row.rater)} has already voted on ${what}; each rater votes once`,
      { status: 409, param, code: 'already_voted', retry: false },
    );
  }
  if (edit !== null) await transaction.insert(preferences).values(toDemonstration(row, edit));
  return row;
}

/** The edit of a vote over the side that it chose. */
function toDemonstration(vote: PreferenceRow, edit: string): PreferenceRow {
  const row: PreferenceRow = {
    ...vote,
    id: newId('pref_'),
    source: 'demonstration',
    comparison_id: null,
    choice: 'a',
    chosen: edit,
    rejected: vote.chosen,
    chosen_generation_id: null,
    rejected_generation_id: vote.chosen_generation_id,
    vote_hash: null,
    strength: null,
    tags: [],
    comment: null,
    seconds: null,
    metadata: null,
    edit_of: vote.id,
  };
  return { ...row, content_hash: hashJudgment(row) };
}

/** Of two texts in any order: a rater who prefers each of them has voted twice. */
function hashVote({ prompt, chosen, rejected }: Pick<PreferenceInput, 'prompt' | 'chosen' | 'rejected'>): string {
  return hashContent({ prompt, sides: [chosen, rejected].sort() });
}

type PreferenceInput = Pick<
  PreferenceRow,
  | 'source'
  | 'comparison_id'
  | 'choice'
  | 'prompt'
  | 'chosen'
  | 'rejected'
  | 'chosen_generation_id'
  | 'rejected_generation_id'
  | 'redacted'
  | 'tenant'
>;

/** The copy of its texts stays with the tenant of the comparison, also if an administrator votes on it. */
async function fromComparison(
  transaction: Transaction,
  body: GivenPreference,
  { readable }: Voter,
): Promise<PreferenceInput> {
  const row = await findOr404(transaction, comparisons, 'comparison', body.comparison!, readable, 'comparison');
  const [chosenId, rejectedId] =
    body.choice === 'b' ? [row.b_generation_id, row.a_generation_id] : [row.a_generation_id, row.b_generation_id];
  const [chosen, rejected] = await findSides(transaction, chosenId, rejectedId, readable);
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
  { readable, assertMayGive }: Voter,
): Promise<PreferenceInput> {
  const [chosen, rejected] = await findSides(transaction, body.chosen!, body.rejected!, readable);
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
