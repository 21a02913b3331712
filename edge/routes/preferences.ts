// One rater's choice: on a comparison, between two generations, or between two given texts. It is committed before the
// response. Each rater votes once on a comparison, and once on two texts.

import { z } from '@hono/zod-openapi';
import { inArray } from 'drizzle-orm';
import { countRows } from '../../shared/access/row-quota.ts';
import type { Database } from '../../shared/database/connect.ts';
import { preferences, reservations } from '../../shared/database/schema.ts';
import { getTrust, TRUST_LEVELS } from '../../shared/preferences/trust.ts';
import { listEdits, type PreferenceRow } from '../../shared/preferences/vote-details.ts';
import { type Redact, redactPrompt, redactValue } from '../../shared/redaction/redact.ts';
import { listLearners } from '../../shared/rounds/policy-lineage.ts';
import { assertEmbeds, hideInstructions } from '../comparisons/embedded.ts';
import type { ComparisonRow } from '../comparisons/generate-sides.ts';
import { idempotencyKeyField } from '../http/idempotency.ts';
import { chatMessages, promptSchema, redactedField } from '../http/messages.ts';
import { defineOperation } from '../http/operation.ts';
import { listSchema, toPage } from '../http/pagination.ts';
import { getOperation, toUnixSeconds } from '../http/resource.ts';
import { assertScope, getOwner, getReadableTenant, getRowQuota, selectTenant } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { preferenceListQuery } from '../preferences/filter.ts';
import { selectPreferences } from '../preferences/list.ts';
import { namedRater, nameRater } from '../preferences/name-rater.ts';
import { hasTexts, storePreference } from '../preferences/store-preference.ts';
import { assertMayDemonstrate, detailFields, redactDetails, strengthField } from '../preferences/vote-details.ts';

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
    ...detailFields,
    rater: namedRater,
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
    strength: strengthField.nullable(),
    tags: z.array(z.string()),
    comment: z.string().nullable(),
    seconds: z.number().nullable(),
    demonstration: z
      .string()
      .nullable()
      .openapi({ description: 'the preference for its edit over the chosen side, if it has an edit' }),
    edit_of: z.string().nullable().openapi({ description: 'the vote whose edit this preference is' }),
    queue: z.string().nullable().openapi({ description: 'the queue whose item was voted on' }),
    metadata: z.record(z.string(), z.unknown()).nullable(),
    redacted: redactedField,
    learned_by: z.array(z.string()).openapi({
      description: 'policies and rewards whose rounds trained on it; their descendants learned from it too',
    }),
  })
  .openapi('Preference');

/** What the row alone does not say. */
type Related = { demonstration?: string | undefined; queue?: string | null | undefined };

export const toPreference = (
  row: PreferenceRow,
  learnedBy: string[],
  { demonstration, queue }: Related = {},
): z.output<typeof preference> => ({
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
  strength: row.strength,
  tags: row.tags,
  comment: row.comment,
  seconds: row.seconds,
  demonstration: demonstration ?? null,
  edit_of: row.edit_of,
  queue: queue ?? null,
  metadata: row.metadata,
  ...(row.redacted ? { redacted: true as const } : {}),
  learned_by: learnedBy,
});

export const createPreference = defineOperation({
  scopes: ['rate', 'feedback'],
  takesEmbedTokens: true,
  summary:
    'Stores a preference: {comparison, choice}, {chosen, rejected} of generation ids, or {prompt, chosen, rejected}',
  idempotent: true,
  body: preferenceBody,
  response: preference,
  async handler({ ports, context, commit, body: given }) {
    // Given texts train the policy to say anything; votes only choose among its own responses.
    if (hasTexts(given)) assertScope(context, ['feedback'], 'a preference between given texts');
    assertMayDemonstrate(context, given.edit, 'edit');
    if (context.get('identity')?.kind === 'embed' && given.comparison === undefined)
      assertScope(context, [], 'a preference between responses');
    const voter = {
      ...getOwner(context),
      rater: nameRater(context, given.rater),
      readable: getReadableTenant(context),
      assertMayGive: () =>
        assertScope(context, ['feedback'], 'a preference between responses with a response_format or logit_bias'),
    };
    const { body, isRedacted } = await redactBody(ports.redact, given);
    const { details, ...redacted } = await redactDetails(ports.redact, given);
    const response = await commit(async (transaction) => {
      const isAnyRedacted = isRedacted || redacted.isRedacted;
      const assertMayVote = (row: ComparisonRow) => assertEmbeds(transaction, context, row, 'comparison');
      const all = { ...voter, assertMayVote };
      const { vote, demonstration } = await storePreference(transaction, body, isAnyRedacted, all, details);
      await countRows(transaction, getRowQuota(context), demonstration ? 2 : 1);
      return hideInstructions(context, toPreference(vote, [], { demonstration: demonstration?.id }));
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
    const ids = rows.map(({ id }) => id);
    const learners = await listLearners(db, ids);
    const edits = await listEdits(db, ids);
    const queues = await listQueues(db, rows);
    return rows.map((row) =>
      toPreference(row, learners.get(row.id) ?? [], {
        demonstration: edits.get(row.id)?.id,
        queue: queues.get(row.reservation_id),
      }),
    );
  },
};

export const listPreferences = defineOperation({
  scopes: ['read'],
  summary: 'Lists preferences: all, or those with some words, or of a rater, policy, queue or canary',
  query: preferenceListQuery,
  response: listSchema(preference),
  async handler({ ports, context, query }) {
    const { rows, hasMore } = await selectPreferences(ports.db, query, selectTenant(context, query.tenant));
    return toPage(await resource.toResponses(rows, ports), hasMore);
  },
});
export const getPreference = getOperation({ summary: 'One preference', ...resource });

/** By reservation. */
async function listQueues(db: Database, rows: PreferenceRow[]): Promise<Map<string | null, string>> {
  const ids = rows.flatMap(({ reservation_id }) => reservation_id ?? []);
  if (ids.length === 0) return new Map();
  const { id, queue_id: queue } = reservations;
  const found = await db.select({ id, queue }).from(reservations).where(inArray(id, ids));
  return new Map(found.map((row) => [row.id, row.queue]));
}

/** Before the vote's transaction. What is voted on was redacted when it was stored. */
async function redactBody(redact: Redact | null, body: PreferenceBody) {
  const { metadata, prompt, chosen, rejected } = body;
  const given = hasTexts(body) ? { metadata, prompt, chosen, rejected } : { metadata };
  const texts = await redactValue(redact, given);
  const messages = body.messages && ((await redactPrompt(redact, body.messages)) as typeof body.messages);
  return { body: { ...body, ...texts, messages }, isRedacted: texts !== given || messages !== body.messages };
}
