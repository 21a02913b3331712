// One rater's choice: on a comparison, between two generations, or between two given texts. It is committed before the
// response. Each rater votes once on a comparison, and once on two texts.

import { z } from '@hono/zod-openapi';
import { and, asc, inArray } from 'drizzle-orm';
import type { Context } from 'hono';
import type { Owner } from '../../shared/access/owner.ts';
import { countRows } from '../../shared/access/row-quota.ts';
import { type StoredGeneration, selectGenerations } from '../../shared/database/generations.ts';
import { comparisons, completions, generations, preferences } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import { isUniqueViolation } from '../../shared/postgres-errors.ts';
import { getTrust, TRUST_LEVELS } from '../../shared/preferences/trust.ts';
import { type Redact, redactPrompt, redactValue } from '../../shared/redaction/redact.ts';
import { listLearners } from '../../shared/rounds/policy-lineage.ts';
import { hasScope } from '../../shared/scopes.ts';
import { idempotencyKeyField, type Transaction } from '../http/idempotency.ts';
import { chatMessages, promptSchema, redactedField } from '../http/messages.ts';
import { defineOperation } from '../http/operation.ts';
import { isVisible } from '../http/pagination.ts';
import { findOr404, getOperation, listOperation, toUnixSeconds } from '../http/resource.ts';
import { assertScope, getCallerId, getOwner, getReadableTenant, getRowQuota, getScopes } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';

/** As JSON. Imported rows carry what their source has, so the values may have any shape. */
const MAX_METADATA_LENGTH = 16_384;

const text = z.string().min(1, 'is empty; give it some text');

export const choiceField = z.enum(['a', 'b', 'tie', 'both_bad', 'skip']);

const preferenceBody = z
  .strictObject({
    comparison: z
      .string()
      .min(1, 'give the id of a comparison')
      .optional()
      .openapi({ description: 'a comparison to vote on, with choice' }),
    choice: choiceField.optional(),
    chosen: text.optional().openapi({ description: 'a generation id; with prompt or messages: the text itself' }),
    rejected: text.optional(),
    prompt: text.optional(),
    messages: chatMessages.optional(),
    rater: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .openapi({ description: 'the end user who chose, stored as user:…; needs the scope feedback' }),
    metadata: z
      .record(z.string(), z.unknown())
      .refine(
        (metadata) => JSON.stringify(metadata).length <= MAX_METADATA_LENGTH,
        `is longer than ${MAX_METADATA_LENGTH} characters as JSON; shorten it`,
      )
      .nullish(),
    id: idempotencyKeyField,
  })
  .superRefine((body, context) => {
    const reject = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if (body.comparison !== undefined) {
      if (body.choice === undefined) reject('choice', 'give one of a, b, tie, both_bad and skip');
      for (const field of ['chosen', 'rejected', 'prompt', 'messages'] as const)
        if (body[field] !== undefined) reject(field, 'is not allowed in a vote on a comparison; give only a choice');
      return;
    }
    if (body.choice !== undefined) reject('choice', 'needs a comparison');
    if (body.chosen === undefined) reject('chosen', 'give a comparison with a choice, or chosen and rejected');
    else if (body.rejected === undefined) reject('rejected', 'is missing; a preference needs both sides');
    else if (body.chosen === body.rejected) reject('rejected', 'equals chosen; a preference needs two different sides');
    if (body.prompt !== undefined && body.messages !== undefined) reject('messages', 'give either messages or prompt');
  });

type PreferenceBody = z.output<typeof preferenceBody>;
type PreferenceRow = Omit<typeof preferences.$inferSelect, 'xid'>;

const side = z.object({ text: z.string(), generation: z.string().nullable() });

export const preference = z
  .object({
    id: z.string(),
    object: z.literal('preference'),
    created: z.number(),
    source: z.string(),
    trust: z
      .enum(TRUST_LEVELS)
      .openapi({ description: 'rated: a rater’s vote; feedback: of a backend’s end user, or given texts; imported' }),
    comparison: z.string().nullable(),
    choice: z.string(),
    rater: z.string(),
    prompt: promptSchema,
    chosen: side,
    rejected: side,
    metadata: z.record(z.string(), z.unknown()).nullable(),
    redacted: redactedField,
    learned_by: z.array(z.string()).openapi({
      description: 'policies and rewards whose rounds trained on it; their descendants learned from it too',
    }),
  })
  .openapi('Preference');

export const toPreference = (row: PreferenceRow, learnedBy: string[]): z.output<typeof preference> => ({
  id: row.id,
  object: 'preference',
  created: toUnixSeconds(row.created_at),
  source: row.source,
  trust: getTrust(row),
  comparison: row.comparison_id,
  choice: row.choice,
  rater: row.rater,
  prompt: row.prompt,
  chosen: { text: row.chosen, generation: row.chosen_generation_id },
  rejected: { text: row.rejected, generation: row.rejected_generation_id },
  metadata: row.metadata,
  ...(row.redacted ? { redacted: true as const } : {}),
  learned_by: learnedBy,
});

export const createPreference = defineOperation({
  scopes: ['rate', 'feedback'],
  summary:
    'Stores a preference: {comparison, choice}, {chosen, rejected} of generation ids, or {prompt, chosen, rejected}',
  idempotent: true,
  body: preferenceBody,
  response: preference,
  async handler({ ports, context, commit, body: given }) {
    // Given texts train the policy to say anything; votes only choose among its own responses.
    if (hasTexts(given)) assertScope(context, ['feedback'], 'a preference between given texts');
    const voter = { rater: nameRater(context, given.rater), ...getOwner(context) };
    const { body, isRedacted } = await redactBody(ports.redact, given);
    const readable = getReadableTenant(context);
    const response = await commit(async (transaction) => {
      const row = await storePreference(transaction, body, isRedacted, voter, readable);
      await countRows(transaction, getRowQuota(context), 1);
      return toPreference(row, []);
    });
    const { choice, chosen, rejected } = response;
    context.get('record').vote = { choice, chosen: chosen.generation, rejected: rejected.generation };
    return response;
  },
});

const resource = {
  kind: 'preference',
  table: preferences,
  item: preference,
  async toResponses(rows: PreferenceRow[], { db }: Ports) {
    const learners = await listLearners(
      db,
      rows.map(({ id }) => id),
    );
    return rows.map((row) => toPreference(row, learners.get(row.id) ?? []));
  },
};

export const listPreferences = listOperation({ summary: 'Lists preferences', ...resource });
export const getPreference = getOperation({ summary: 'One preference', ...resource });

type Voter = Owner & { rater: string };

/** Whether the sides are texts, and no ids of generations. */
function hasTexts({ prompt, messages }: PreferenceBody): boolean {
  return prompt !== undefined || messages !== undefined;
}

/** Before the vote's transaction. What is voted on was redacted when it was stored. */
async function redactBody(redact: Redact | null, body: PreferenceBody) {
  const { metadata, prompt, chosen, rejected } = body;
  const given = hasTexts(body) ? { metadata, prompt, chosen, rejected } : { metadata };
  const texts = await redactValue(redact, given);
  const messages = body.messages && ((await redactPrompt(redact, body.messages)) as typeof body.messages);
  return { body: { ...body, ...texts, messages }, isRedacted: texts !== given || messages !== body.messages };
}

/** `readable`: the tenant whose comparisons and generations it may be about; null: any. */
async function storePreference(
  transaction: Transaction,
  body: PreferenceBody,
  isRedacted: boolean,
  voter: Voter,
  readable: string | null,
): Promise<PreferenceRow> {
  const { redacted, ...input } = body.comparison
    ? await fromComparison(transaction, body, readable)
    : hasTexts(body)
      ? fromTexts(body)
      : await fromGenerations(transaction, body, readable);
  const row: PreferenceRow = {
    id: newId('pref_'),
    metadata: body.metadata ?? null,
    redacted: isRedacted || redacted,
    content_hash: hashContent({ ...input, rater: voter.rater }),
    vote_hash: body.comparison ? null : hashVote(input),
    erased_at: null,
    created_at: new Date(),
    ...voter,
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
  return row;
}

/** Of two texts in any order: a rater who prefers each of them has voted twice. */
function hashVote({ prompt, chosen, rejected }: Pick<PreferenceInput, 'prompt' | 'chosen' | 'rejected'>): string {
  return hashContent({ prompt, sides: [chosen, rejected].sort() });
}

/**
 * A rater who signed in votes as that rater, and a key without the scope feedback as itself. Only a backend names its end
 * users, as `user:…`, so that none of them can pass for a rater.
 */
function nameRater(context: Context, named: string | undefined): string {
  if (hasScope(getScopes(context), ['feedback'])) return named === undefined ? 'anonymous' : `user:${named}`;
  if (named === undefined) return getCallerId(context);
  throw new AttuneError(
    `rater: ${getCallerId(context)} votes as itself; leave rater out, or use a key with the scope feedback, which may name ` +
      'its end users',
    { status: 403, param: 'rater', code: 'insufficient_scope', retry: false },
  );
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
>;

async function fromComparison(
  transaction: Transaction,
  body: PreferenceBody,
  readable: string | null,
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
  };
}

async function fromGenerations(
  transaction: Transaction,
  body: PreferenceBody,
  readable: string | null,
): Promise<PreferenceInput> {
  const [chosen, rejected] = await findSides(transaction, body.chosen!, body.rejected!, readable);
  if (identifyPrompt(chosen) !== identifyPrompt(rejected))
    throw new AttuneError(
      'rejected: its prompt differs from that of chosen; a preference compares two generations from one prompt',
      { param: 'rejected', code: 'different_prompts' },
    );
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
  };
}

/** By its tokens, which a redacted prompt does not have. */
function identifyPrompt({
  prompt,
  prompt_token_ids: ids,
}: Pick<StoredGeneration, 'prompt' | 'prompt_token_ids'>): string {
  return JSON.stringify(ids.length > 0 ? ids : prompt);
}

function fromTexts(body: PreferenceBody): PreferenceInput {
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
