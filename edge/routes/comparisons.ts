// Two generations from one prompt, side by side, whole or as an even stream. The policies and generation ids of both sides are
// hidden until the first vote.

import { z } from '@hono/zod-openapi';
import { inArray, isNull } from 'drizzle-orm';
import type { Context } from 'hono';
import { countRows } from '../../shared/access/row-quota.ts';
import { selectGenerations } from '../../shared/database/generations.ts';
import { comparisons, generations, preferences } from '../../shared/database/schema.ts';
import { hasScope } from '../../shared/scopes.ts';
import { assertEmbeds, hideInstructions } from '../comparisons/embedded.ts';
import {
  type ComparisonRow,
  decodeSides,
  orderSides,
  type Side,
  type Sides,
  startSides,
  storeComparison,
  toComparisonRow,
} from '../comparisons/generate-sides.ts';
import type { SideName } from '../generation/even-sides.ts';
import { modelField, modelName, samplingFields } from '../generation/sampling-fields.ts';
import { notFound } from '../http/errors.ts';
import { idempotencyKeyField } from '../http/idempotency.ts';
import { chatMessages, promptSchema, redactedField } from '../http/messages.ts';
import { defineOperation } from '../http/operation.ts';
import { getOperation, listOperation, toUnixSeconds } from '../http/resource.ts';
import { streamEvents } from '../http/sse.ts';
import { assertScope, getCaller, getOwner, getRowQuota, getScopes } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';

const comparisonBody = z
  .strictObject({
    messages: chatMessages.optional(),
    prompt: z.string().min(1, 'the prompt is empty; give it some text').optional(),
    model: modelField.openapi({
      description: 'the policy of both sides; default: the active one, against a canary’s while one runs',
    }),
    models: z
      .tuple([modelName, modelName])
      .optional()
      .openapi({ description: 'one policy for each side, in any order' }),
    ...samplingFields,
    stream: z.boolean().nullish().openapi({ description: 'true: server-sent events, neither side ahead of the other' }),
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
    queue: z.string().nullable().openapi({ description: 'the queue through whose reservations it is voted on' }),
    metadata: z.record(z.string(), z.string()).nullable(),
    redacted: redactedField,
  })
  .openapi('Comparison');

type ComparisonResponse = z.output<typeof comparison>;

export const createComparison = defineOperation({
  scopes: ['generate', 'rate'],
  summary: 'Generates two responses to one prompt, to be voted on; with stream: true as server-sent events',
  needsPolicy: 'sides',
  idempotent: true,
  body: comparisonBody,
  response: comparison,
  streams: true,
  async handler({ ports, context, commit, body }) {
    assertMaySteer(context, body);
    const prompt = body.messages ?? body.prompt!;
    const caller = getCaller(context);
    const abort = new AbortController();
    const signal = AbortSignal.any([caller.signal, abort.signal]);
    const request = { ...body, prompt, models: body.models ?? [body.model], owner: getOwner(context) } as const;
    const sides = await startSides(ports, { ...request, models: [...request.models] }, { ...caller, signal });
    const create = async (send?: (side: SideName, text: string) => void) => {
      const results = await decodeSides(sides, send);
      const stored = await toComparisonRow(ports, sides, results);
      await commit(async (transaction) => {
        await storeComparison(transaction, stored);
        await countRows(transaction, getRowQuota(context), 1);
        return toResponse(stored.row, stored.sides, false);
      });
      const own = { ...stored.row, prompt, metadata: body.metadata ?? null };
      return toResponse(own, orderSides(results, sides.swapped), false);
    };
    if (!body.stream) return create();
    return streamEvents(
      abort,
      async (send) => {
        // Committed before the last byte: a client that has read the whole stream can vote.
        send(await create((side, text) => send({ object: CHUNK, id: sides.id, side, text })));
        send('[DONE]');
      },
      caller.record,
    );
  },
  replay: (response, body) => (body.stream ? repeatStream(response as ComparisonResponse) : response),
});

const CHUNK = 'comparison.chunk';

/** The stream of a stored response: the same texts, each in one chunk. */
function repeatStream(response: ComparisonResponse): Response {
  return streamEvents(new AbortController(), async (send) => {
    for (const side of ['a', 'b'] as const) send({ object: CHUNK, id: response.id, side, text: response[side].text });
    send(response);
    send('[DONE]');
  });
}

/** With these a request decides what both sides say, and who only rates chooses among the policy's own responses. */
function assertMaySteer(context: Context, body: ComparisonBody): void {
  for (const field of ['response_format', 'logit_bias'] as const)
    if (body[field] != null) assertScope(context, ['generate', 'feedback'], `a comparison with ${field}`, field);
}

const resource = { kind: 'comparison', table: comparisons, item: comparison, toResponses };

export const listComparisons = listOperation({
  summary: 'Lists comparisons; without the scope read, those of no queue',
  scopes: ['rate', 'read'],
  filter: (context) => (mayReadAll(context) ? undefined : isNull(comparisons.queue_id)),
  ...resource,
});
export const getComparison = {
  ...getOperation({ summary: 'One comparison', scopes: ['rate', 'read'], ...resource }),
  takesEmbedTokens: true as const,
};

/** Those of queues are for callers who may read everything: a rater would learn from them which items are gold, and their policies. */
async function toResponses(
  rows: ComparisonRow[],
  { db }: Ports,
  _: string | null,
  context: Context,
): Promise<ComparisonResponse[]> {
  if (rows.length === 0) return [];
  for (const row of rows) {
    await assertEmbeds(db, context, row, 'id');
    if (row.queue_id !== null && !mayReadAll(context)) throw notFound('comparison', row.id);
  }
  const generationIds = rows.flatMap((row) => [row.a_generation_id, row.b_generation_id]);
  const sides = await selectGenerations(db).where(inArray(generations.id, generationIds));
  const sidesById = new Map(sides.map((row) => [row.id, row]));
  const ids = rows.map((row) => row.id);
  const votes = await db
    .selectDistinct({ id: preferences.comparison_id })
    .from(preferences)
    .where(inArray(preferences.comparison_id, ids));
  const voted = new Set(votes.map((vote) => vote.id));
  // The page of a product shows no policies, and nothing that its backend noted.
  const isEmbedded = context.get('identity')?.kind === 'embed';
  return rows.map((row) => {
    const own = { a: sidesById.get(row.a_generation_id)!, b: sidesById.get(row.b_generation_id)! };
    const response = toResponse(row, own, voted.has(row.id), isEmbedded);
    return isEmbedded ? { ...hideInstructions(context, response), metadata: null } : response;
  });
}

function mayReadAll(context: Context): boolean {
  return hasScope(getScopes(context), ['read']);
}

function toResponse(row: ComparisonRow, { a, b }: Sides, isVoted: boolean, isBlind = false): ComparisonResponse {
  const toSide = (generation: Side) => ({
    text: generation.text,
    finish_reason: generation.finish_reason,
    ...(isVoted && !isBlind ? { generation: generation.id, model: generation.policy_id } : {}),
  });
  return {
    id: row.id,
    object: 'comparison',
    created: toUnixSeconds(row.created_at),
    prompt: row.prompt,
    a: toSide(a),
    b: toSide(b),
    voted: isVoted,
    queue: row.queue_id,
    metadata: row.metadata,
    ...(a.redacted || b.redacted ? { redacted: true as const } : {}),
  };
}
