// Erasures, for administrators: of one stored row, or of all that is stored of an end user, a rater or a key. An erasure says
// for as long as it exists which policies learned from what was erased.

import { z } from '@hono/zod-openapi';
import { and, eq } from 'drizzle-orm';
import { tenantName } from '../../shared/access/names.ts';
import { comparisons, completions, type ErasureSubject, erasures, isChat } from '../../shared/database/schema.ts';
import { type DescribedErasure, describeErasure, RELATIONS } from '../../shared/erasure/describe.ts';
import { type ErasureRow, erase } from '../../shared/erasure/erase.ts';
import { findSubject } from '../../shared/erasure/subject.ts';
import { notFound } from '../http/errors.ts';
import { idempotencyKeyField, type Transaction } from '../http/idempotency.ts';
import { defineOperation } from '../http/operation.ts';
import { isVisible } from '../http/pagination.ts';
import { findOr404, getOperation, listOperation, toUnixSeconds } from '../http/resource.ts';
import { getCallerId, getTenant } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { KIND as CHAT } from './stored-chats.ts';

const SUBJECTS = ['user', 'rater', 'key', 'generation'] as const;

const name = z.string().min(1, 'is empty').max(512).optional();

const erasureBody = z
  .strictObject({
    user: name.openapi({ description: 'an end user: the field `user` of completions, and the rater `user:…`' }),
    rater: name.openapi({ description: 'a rater, as preferences name it' }),
    key: z
      .string()
      .regex(/^key_\w+$/, 'give the id of a key, key_…')
      .optional()
      .openapi({ description: 'everything that was stored with this key' }),
    generation: name.openapi({ description: 'with its completion, and what depends on that' }),
    tenant: tenantName.optional().openapi({ description: 'of a user, or of a rater without an id; default: your own' }),
    id: idempotencyKeyField,
  })
  .superRefine((body, context) => {
    const given = SUBJECTS.filter((kind) => body[kind] !== undefined);
    const reject = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if (given.length === 0) reject('user', 'give one of user, rater, key and generation');
    if (given.length > 1) reject(given[1]!, 'give only one of user, rater, key and generation');
    if (body.tenant !== undefined && (body.key ?? body.generation) !== undefined)
      reject('tenant', 'is for a user or a rater; a key and a generation have their own');
  });

const erasure = z
  .object({
    id: z.string(),
    object: z.literal('erasure'),
    created: z.number(),
    created_by: z.string(),
    subject: z.string().openapi({ description: `${SUBJECTS.join(', ')}, completion, comparison or preference` }),
    subject_hash: z.string().openapi({ description: 'SHA-256 of the subject, which itself is not kept' }),
    tenant: z.string(),
    erased: z.object({ completions: z.int(), comparisons: z.int(), preferences: z.int(), feedback: z.int() }),
    policies: z
      .array(z.object({ id: z.string(), relation: z.enum(RELATIONS) }))
      .openapi({ description: 'whose rounds trained on what was erased; their descendants learned from it too' }),
    active_policy_learned: z.boolean().openapi({ description: 'whether it, or an ancestor of it, is one of these' }),
    advice: z.string().nullable(),
  })
  .openapi('Erasure');

const toResponse = ({ counts, ...row }: DescribedErasure): z.output<typeof erasure> => ({
  id: row.id,
  object: 'erasure',
  created: toUnixSeconds(row.created_at),
  created_by: row.created_by,
  subject: row.subject,
  subject_hash: row.subject_hash,
  tenant: row.tenant,
  // jsonb orders keys.
  erased: {
    completions: counts.completions,
    comparisons: counts.comparisons,
    preferences: counts.preferences,
    feedback: counts.feedback ?? 0,
  },
  policies: row.policies,
  active_policy_learned: row.activePolicyLearned,
  advice: row.advice,
});

export const createErasure = defineOperation({
  scopes: ['admin'],
  summary: 'Erases all that is stored of an end user, a rater or a key, or a generation with what depends on it',
  idempotent: true,
  body: erasureBody,
  response: erasure,
  handler: ({ context, commit, body }) =>
    commit(async (transaction) => {
      const kind = SUBJECTS.find((candidate) => body[candidate] !== undefined)!;
      const subject = await findSubject(transaction, kind, body[kind]!, body.tenant ?? getTenant(context));
      const row = await erase(transaction, subject, getCallerId(context));
      return toResponse((await describeErasure(transaction, [row]))[0]!);
    }),
});

const resource = {
  scopes: ['admin' as const],
  kind: 'erasure',
  table: erasures,
  item: erasure,
  toResponses: async (rows: ErasureRow[], { db }: Ports) => (await describeErasure(db, rows)).map(toResponse),
};

export const listErasures = listOperation({ summary: 'Lists erasures', ...resource });
export const getErasure = getOperation({
  summary: 'One erasure, and which policies learned from what was erased',
  ...resource,
});

/** The response to a DELETE. `erasure`: null if a vote was retracted, which leaves none. */
export const deletedSchema = (object: string) =>
  z.object({
    id: z.string(),
    object: z.literal(object),
    deleted: z.literal(true),
    erasure: z
      .string()
      .nullable()
      .openapi({ description: 'GET /v1/erasures/{id} shows which policies learned from it' }),
  });

/** Erases one row, which exists; `object`: what the response calls it. */
export async function eraseRow(
  transaction: Transaction,
  { kind, id, object }: { kind: ErasureSubject; id: string; object: string },
  actor: string,
) {
  const { id: erasure } = await erase(transaction, await findSubject(transaction, kind, id, ''), actor);
  return { id, object, deleted: true as const, erasure };
}

const CHAT_DELETED = 'chat.completion.deleted';
const COMPARISON_DELETED = 'comparison.deleted';

export const deleteChatCompletion = defineOperation({
  scopes: ['admin'],
  summary: 'Erases a stored chat completion, and what depends on it',
  response: deletedSchema(CHAT_DELETED),
  handler: ({ context, commit, param }) =>
    commit(async (transaction) => {
      const id = param('id');
      const isStored = and(eq(completions.id, id), isChat, isVisible(completions, null));
      if ((await transaction.$count(completions, isStored)) === 0) throw notFound(CHAT, id);
      return eraseRow(transaction, { kind: 'completion', id, object: CHAT_DELETED }, getCallerId(context));
    }),
});

export const deleteComparison = defineOperation({
  scopes: ['admin'],
  summary: 'Erases a comparison with both sides, and the votes on it',
  response: deletedSchema(COMPARISON_DELETED),
  handler: ({ context, commit, param }) =>
    commit(async (transaction) => {
      const { id } = await findOr404(transaction, comparisons, 'comparison', param('id'), null);
      return eraseRow(transaction, { kind: 'comparison', id, object: COMPARISON_DELETED }, getCallerId(context));
    }),
});
