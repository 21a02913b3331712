// One rater's choice: on a comparison, between two generations, or between two given texts. It is committed before the
// response. Each rater votes once on a comparison, and once on two texts.

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { countRows } from '../../shared/access/row-quota.ts';
import { preferences } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { getTrust, TRUST_LEVELS } from '../../shared/preferences/trust.ts';
import { type Redact, redactPrompt, redactValue } from '../../shared/redaction/redact.ts';
import { listLearners } from '../../shared/rounds/policy-lineage.ts';
import { hasScope } from '../../shared/scopes.ts';
import { idempotencyKeyField } from '../http/idempotency.ts';
import { chatMessages, promptSchema, redactedField } from '../http/messages.ts';
import { defineOperation } from '../http/operation.ts';
import { getOperation, listOperation, toUnixSeconds } from '../http/resource.ts';
import { assertScope, getCallerId, getOwner, getReadableTenant, getRowQuota, getScopes } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { hasTexts, type PreferenceRow, storePreference } from '../preferences/store-preference.ts';

/** As JSON. Imported rows carry what their source has, so the values may have any shape. */
const MAX_METADATA_LENGTH = 16_384;

/** How Attune names raters: not what a backend calls its end users. */
const RESERVED_NAME = /^(user:|import:|rater_|key_)/;
const RESERVED_NAME_ADVICE = 'give your own name for the end user; Attune adds user: itself';

const text = z.string().min(1, 'is empty; give it some text');

export const choiceField = z.enum(['a', 'b', 'tie', 'both_bad', 'skip']);

export const raterField = z
  .string()
  .min(1)
  .max(200)
  .refine((name) => !RESERVED_NAME.test(name), RESERVED_NAME_ADVICE)
  .optional()
  .openapi({ description: 'the end user who chose, stored as user:…; needs the scope feedback' });

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
    rater: raterField,
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
    const voter = {
      ...getOwner(context),
      rater: nameRater(context, given.rater),
      readable: getReadableTenant(context),
      assertMayGive: () =>
        assertScope(context, ['feedback'], 'a preference between responses with a response_format or logit_bias'),
    };
    const { body, isRedacted } = await redactBody(ports.redact, given);
    const response = await commit(async (transaction) => {
      const row = await storePreference(transaction, body, isRedacted, voter);
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

/** Before the vote's transaction. What is voted on was redacted when it was stored. */
async function redactBody(redact: Redact | null, body: PreferenceBody) {
  const { metadata, prompt, chosen, rejected } = body;
  const given = hasTexts(body) ? { metadata, prompt, chosen, rejected } : { metadata };
  const texts = await redactValue(redact, given);
  const messages = body.messages && ((await redactPrompt(redact, body.messages)) as typeof body.messages);
  return { body: { ...body, ...texts, messages }, isRedacted: texts !== given || messages !== body.messages };
}

/**
 * A rater who signed in votes as that rater, and a key without the scope feedback as itself. Only a backend names its end
 * users, as `user:…`, so that none of them can pass for a rater.
 */
export function nameRater(context: Context, named: string | undefined): string {
  if (hasScope(getScopes(context), ['feedback'])) return named === undefined ? 'anonymous' : `user:${named}`;
  if (named === undefined) return getCallerId(context);
  throw new AttuneError(
    `rater: ${getCallerId(context)} votes as itself; leave rater out, or use a key with the scope feedback, which may name ` +
      'its end users',
    { status: 403, param: 'rater', code: 'insufficient_scope', retry: false },
  );
}
