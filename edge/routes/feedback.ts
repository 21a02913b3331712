// What users of a product say about one generation, besides votes. A rater's later feedback on the same generation replaces what
// it names of the earlier one.

import { z } from '@hono/zod-openapi';
import { and, eq } from 'drizzle-orm';
import { countRows } from '../../shared/access/row-quota.ts';
import { selectGenerations } from '../../shared/database/generations.ts';
import { completions, feedback, generations } from '../../shared/database/schema.ts';
import { forgetResponses } from '../../shared/erasure/forget.ts';
import { type FeedbackRow, giveFeedback, retractFeedback } from '../../shared/feedback/give-feedback.ts';
import { redactValue } from '../../shared/redaction/redact.ts';
import { hasScope } from '../../shared/scopes.ts';
import { notFound } from '../http/errors.ts';
import { idempotencyKeyField } from '../http/idempotency.ts';
import { redactedField } from '../http/messages.ts';
import { defineOperation } from '../http/operation.ts';
import { isVisible } from '../http/pagination.ts';
import { getOperation, listOperation, toUnixSeconds } from '../http/resource.ts';
import { getCallerId, getOwner, getReadableTenant, getRowQuota, getScopes } from '../middleware/auth.ts';
import { namedRater, nameRater } from '../preferences/name-rater.ts';
import { findQueueOf, queuedComparison } from '../preferences/store-preference.ts';
import { assertMayDemonstrate, betterText, commentField, tagsField, toReal } from '../preferences/vote-details.ts';
import { deletedSchema } from './erasures.ts';

const said = {
  thumb: z.literal([1, -1], 'give 1 or -1').nullish(),
  score: z.number().min(0).max(1).transform(toReal).nullish(),
  comment: commentField.nullish(),
  tags: tagsField.nullish(),
  demonstration: betterText.nullish().openapi({
    description:
      'a better response: becomes a preference for it over the generation; of a rater, or with the scope feedback',
  }),
};

const feedbackBody = z
  .strictObject({
    generation: z.string().min(1, 'give the id of a generation'),
    ...said,
    rater: namedRater,
    id: idempotencyKeyField,
  })
  .refine((body) => Object.keys(said).some((name) => body[name as keyof typeof said] !== undefined), {
    path: ['thumb'],
    error: 'give a thumb, a score, a comment, tags or a demonstration',
  });

const feedbackResponse = z
  .object({
    id: z.string(),
    object: z.literal('feedback'),
    created: z.number(),
    generation: z.string(),
    rater: z.string(),
    thumb: z.number().nullable(),
    score: z.number().nullable(),
    comment: z.string().nullable(),
    tags: z.array(z.string()),
    demonstration: z.string().nullable(),
    preference: z
      .string()
      .nullable()
      .openapi({ description: 'the preference for the demonstration over the generation' }),
    redacted: redactedField,
  })
  .openapi('Feedback');

const toResponse = (row: FeedbackRow): z.output<typeof feedbackResponse> => ({
  id: row.id,
  object: 'feedback',
  created: toUnixSeconds(row.created_at),
  generation: row.generation_id,
  rater: row.rater,
  thumb: row.thumb,
  score: row.score,
  comment: row.comment,
  tags: row.tags,
  demonstration: row.demonstration,
  preference: row.preference_id,
  ...(row.redacted ? { redacted: true as const } : {}),
});

export const createFeedback = defineOperation({
  scopes: ['rate', 'feedback'],
  summary: 'Stores what a user says about a generation; later feedback replaces what it names of the earlier one',
  idempotent: true,
  body: feedbackBody,
  response: feedbackResponse,
  async handler({ ports, context, commit, body }) {
    assertMayDemonstrate(context, body.demonstration, 'demonstration');
    const giver = { rater: nameRater(context, body.rater), created_by: getCallerId(context) };
    const { thumb, score, ...given } = body;
    const { comment, tags, demonstration } = given;
    const texts = { comment, tags, demonstration };
    const redacted = await redactValue(ports.redact, texts);
    return commit(async (transaction) => {
      // Until this is committed it is neither erased nor deleted, so that no copy of its texts is left.
      const [generation] = await selectGenerations(transaction)
        .where(and(eq(generations.id, body.generation), isVisible(completions, getReadableTenant(context))))
        .for('share', { of: completions });
      if (!generation) throw notFound('generation', body.generation, 'generation');
      const queue = await findQueueOf(transaction, [generation.id]);
      if (queue !== null) throw queuedComparison('generation', queue);
      const fields = { thumb, score, ...redacted };
      const { row, rows } = await giveFeedback(transaction, generation, giver, fields, redacted !== texts);
      await countRows(transaction, getRowQuota(context), rows);
      return toResponse(row);
    });
  },
});

const resource = {
  kind: 'feedback',
  table: feedback,
  item: feedbackResponse,
  toResponses: (rows: FeedbackRow[]) => rows.map(toResponse),
};

export const listFeedback = listOperation({ summary: 'Lists feedback', ...resource });
export const getFeedback = getOperation({ summary: 'One feedback', ...resource });

const DELETED = 'feedback.deleted';

export const deleteFeedback = defineOperation({
  scopes: ['rate', 'feedback'],
  summary: 'Retracts your feedback, with its demonstration until a round has used it; for an administrator: any',
  response: deletedSchema(DELETED),
  handler: ({ context, commit, param }) =>
    commit(async (transaction) => {
      const id = param('id');
      const owner = hasScope(getScopes(context), []) ? null : getOwner(context);
      if (!(await retractFeedback(transaction, id, owner))) throw notFound('feedback of yours', id);
      await forgetResponses(transaction, [id]);
      return { id, object: DELETED, deleted: true as const, erasure: null };
    }),
});
