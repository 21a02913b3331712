// Two generations from one prompt, side by side. The policies and generation ids of both sides are hidden until the first
// vote.

import { z } from '@hono/zod-openapi';
import { inArray } from 'drizzle-orm';
import type { Context } from 'hono';
import { countRows } from '../../shared/access/row-quota.ts';
import type { Prompt } from '../../shared/chat-message.ts';
import { selectGenerations } from '../../shared/database/generations.ts';
import { comparisons, generations, preferences } from '../../shared/database/schema.ts';
import {
  type ComparisonRow,
  createComparisonRow,
  generateSides,
  orderSides,
  type Side,
  toSides,
} from '../comparisons/generate-sides.ts';
import { redactResults } from '../generation/redact-results.ts';
import { modelField, modelName, samplingFields } from '../generation/sampling-fields.ts';
import { storeCompletions } from '../generation/store.ts';
import { idempotencyKeyField } from '../http/idempotency.ts';
import { chatMessages, promptSchema, redactedField } from '../http/messages.ts';
import { defineOperation } from '../http/operation.ts';
import { getOperation, listOperation, toUnixSeconds } from '../http/resource.ts';
import { assertScope, getCaller, getOwner, getRowQuota } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';

const comparisonBody = z
  .strictObject({
    messages: chatMessages.optional(),
    prompt: z.string().min(1, 'the prompt is empty; give it some text').optional(),
    model: modelField.openapi({ description: 'the policy of both sides; default: the active one' }),
    models: z
      .tuple([modelName, modelName])
      .optional()
      .openapi({ description: 'one policy for each side, in any order' }),
    ...samplingFields,
    id: idempotencyKeyField,
  })
  .refine((body) => (body.messages === undefined) !== (body.prompt === undefined), {
    path: ['messages'],
    error: 'give either messages or prompt',
  })
  .refine((body) => body.model === undefined || body.models === undefined, {
    path: ['models'],
    error: 'give either model or models',
  });

type ComparisonBody = z.output<typeof comparisonBody>;

const side = z.object({
  text: z.string(),
  finish_reason: z.string(),
  generation: z.string().optional(),
  model: z.string().optional(),
});

const comparison = z
  .object({
    id: z.string(),
    object: z.literal('comparison'),
    created: z.number(),
    prompt: promptSchema,
    a: side,
    b: side,
    voted: z.boolean(),
    metadata: z.record(z.string(), z.string()).nullable(),
    redacted: redactedField,
  })
  .openapi('Comparison');

type ComparisonResponse = z.output<typeof comparison>;

export const createComparison = defineOperation({
  scopes: ['generate', 'rate'],
  summary: 'Generates two responses to one prompt, to be voted on',
  needsPolicy: 'body',
  idempotent: true,
  body: comparisonBody,
  response: comparison,
  async handler({ ports, context, commit, body }) {
    assertMaySteer(context, body);
    const prompt: Prompt = body.messages ?? body.prompt!;
    const owner = getOwner(context);
    const results = await generateSides(ports, prompt, { ...body, owner }, getCaller(context));
    const stored = await redactResults(ports.redact, results);
    const { request } = stored[0]!.completion;
    const fields = { prompt: request.prompt, metadata: request.metadata, queue_id: null, ...owner };
    const row = createComparisonRow(toSides(stored), fields);
    await commit(async (transaction) => {
      await storeCompletions(transaction, stored);
      await transaction.insert(comparisons).values(row);
      await countRows(transaction, getRowQuota(context), 1);
      return toResponse(row, ...orderSides(toSides(stored), row.swapped), false);
    });
    const own = { ...row, prompt, metadata: body.metadata ?? null };
    return toResponse(own, ...orderSides(toSides(results), row.swapped), false);
  },
});

/** With these a request decides what both sides say, and who only rates chooses among the policy's own responses. */
function assertMaySteer(context: Context, body: ComparisonBody): void {
  for (const field of ['response_format', 'logit_bias'] as const)
    if (body[field] != null) assertScope(context, ['generate', 'feedback'], `a comparison with ${field}`, field);
}

const resource = { kind: 'comparison', table: comparisons, item: comparison, toResponses };

export const listComparisons = listOperation({ summary: 'Lists comparisons', scopes: ['rate', 'read'], ...resource });
export const getComparison = getOperation({ summary: 'One comparison', scopes: ['rate', 'read'], ...resource });

async function toResponses(rows: ComparisonRow[], { db }: Ports): Promise<ComparisonResponse[]> {
  if (rows.length === 0) return [];
  const generationIds = rows.flatMap((row) => [row.a_generation_id, row.b_generation_id]);
  const sides = await selectGenerations(db).where(inArray(generations.id, generationIds));
  const sidesById = new Map(sides.map((row) => [row.id, row]));
  const ids = rows.map((row) => row.id);
  const votes = await db
    .selectDistinct({ id: preferences.comparison_id })
    .from(preferences)
    .where(inArray(preferences.comparison_id, ids));
  const voted = new Set(votes.map((vote) => vote.id));
  return rows.map((row) =>
    toResponse(row, sidesById.get(row.a_generation_id)!, sidesById.get(row.b_generation_id)!, voted.has(row.id)),
  );
}

function toResponse(row: ComparisonRow, a: Side, b: Side, isVoted: boolean): ComparisonResponse {
  const toSide = (generation: Side) => ({
    text: generation.text,
    finish_reason: generation.finish_reason,
    ...(isVoted ? { generation: generation.id, model: generation.policy_id } : {}),
  });
  return {
    id: row.id,
    object: 'comparison',
    created: toUnixSeconds(row.created_at),
    prompt: row.prompt,
    a: toSide(a),
    b: toSide(b),
    voted: isVoted,
    metadata: row.metadata,
    ...(a.redacted || b.redacted ? { redacted: true as const } : {}),
  };
}
