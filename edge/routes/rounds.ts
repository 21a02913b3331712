// Training rounds, requested and observed here and run by the trainer, in the shape of OpenAI's fine-tuning jobs.

import { z } from '@hono/zod-openapi';
import { and, asc, eq, inArray } from 'drizzle-orm';
import type { Context } from 'hono';
import { recordAudit } from '../../shared/access/audit.ts';
import { notifyChange } from '../../shared/database/channels.ts';
import { type RoundMethod, UNFINISHED_STATUSES } from '../../shared/database/round-types.ts';
import { round_events, round_metrics, rounds } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { findLoosened, type Loosened } from '../../shared/rounds/loosened.ts';
import { getPublished } from '../../shared/rounds/published.ts';
import { type RoundRow, requestRound } from '../../shared/rounds/schedule.ts';
import { roundMethod } from '../../shared/rounds/settings.ts';
import { writeEvent } from '../../shared/webhooks/event.ts';
import type { Transaction } from '../http/idempotency.ts';
import { defineOperation } from '../http/operation.ts';
import { findOr404, getOperation, listOperation, toUnixSeconds } from '../http/resource.ts';
import { streamEvents } from '../http/sse.ts';
import { assertScope, findRefusal, getCallerId, getReadableTenant } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { round, toResponse, toResponses } from './round-response.ts';

const stepMetrics = z.object({
  step_number: z.number(),
  split: z.string(),
  metrics: z.record(z.string(), z.number()),
  logps: z.object({ chosen: z.array(z.number()), rejected: z.array(z.number()) }).nullable(),
});

/** As the fields of server-sent events. */
const serverSentEvent = z.object({
  id: z.string().optional(),
  event: z.literal('done').optional().openapi({ description: 'of the last one' }),
  data: z
    .string()
    .openapi({ description: 'JSON: level, message, type, data and created_at; of the last one, the round' }),
});

export const createRound = defineOperation({
  scopes: ['train'],
  summary: 'Requests a training round; a trainer runs the requested rounds in order',
  idempotent: true,
  body: z
    .strictObject({
      method: roundMethod.optional(),
      from_root: z
        .boolean()
        .optional()
        .describe('trains the first policy of the line on everything that the active one learned, and what is new'),
      dry_run: z
        .boolean()
        .optional()
        .describe('what the round would do, without doing it: a trainer answers in `preview`, in a minute or less'),
    })
    .refine(({ method, from_root }) => !(from_root && method?.type === 'reward'), {
      path: ['from_root'],
      error: 'a reward is trained from the active policy; leave from_root out',
    }),
  response: round,
  handler({ ports: { settings }, context, commit, body }) {
    const { method = { type: 'dil' }, from_root: fromRoot, dry_run: isDryRun } = body;
    const request = (method.type === 'dil' ? method.dil : method.reward) ?? {};
    const [loosened] = findLoosened(method.type, request, settings);
    if (loosened) assertMayLoosen(context, method.type, loosened);
    return commit(async (transaction) => {
      const row = await requestRound(transaction, 'api', request, { method: method.type, fromRoot, isDryRun });
      const details = { method: method.type, settings: request };
      await recordAudit(transaction, {
        actor: getCallerId(context),
        action: 'round.requested',
        target: row.id,
        details,
      });
      return toResponse(row, getReadableTenant(context));
    });
  },
});

function assertMayLoosen(context: Context, method: RoundMethod, { name, requested, configured }: Loosened): void {
  const field = `method.${method}.${name}`;
  const what = `${field} ${JSON.stringify(requested)} in place of the server's ${JSON.stringify(configured)}`;
  assertScope(context, ['operate'], what, field);
}

export const cancelRound = defineOperation({
  scopes: ['train'],
  summary: 'Cancels a round that is queued or running; its pairs stay new',
  idempotent: true,
  response: round,
  async handler({ ports, context, commit, param }) {
    const response = await commit(async (transaction) => {
      const row = await cancel(transaction, param('id'));
      await recordAudit(transaction, { actor: getCallerId(context), action: 'round.cancelled', target: row.id });
      return (await toResponses(transaction, [row], getReadableTenant(context)))[0]!;
    });
    await ports.sendWebhooks();
    return response;
  },
});

/** A trainer that runs it can no longer write it, and stops. */
async function cancel(transaction: Transaction, id: string): Promise<RoundRow> {
  const found = await findOr404(transaction, rounds, 'round', id, null);
  const reason = `cancelled while ${found.stage}`;
  const [row] = await transaction
    .update(rounds)
    .set({ status: 'cancelled', stage: 'cancelled', reason, finished_at: new Date() })
    .where(and(eq(rounds.id, id), inArray(rounds.status, UNFINISHED_STATUSES)))
    .returning();
  if (!row) throw await toEndedError(transaction, id);
  const data = { stage: row.stage, status: row.status };
  await transaction.insert(round_events).values({ round_id: id, level: 'info', type: 'stage', message: reason, data });
  await writeEvent(transaction, 'round.cancelled', { id, ...getPublished(row), metrics: row.metrics, reason });
  await notifyChange(transaction, id);
  return row;
}

async function toEndedError(transaction: Transaction, id: string): Promise<AttuneError> {
  const ended = await findOr404(transaction, rounds, 'round', id, null);
  const [response] = await toResponses(transaction, [ended], null);
  const canary = response?.canary;
  const advice =
    canary?.state === 'running'
      ? `its policy is a canary, which ends by POST /v1/canaries/${canary.id}/cancel`
      : 'a round is cancelled while it is queued or running';
  return new AttuneError(`${id} has ended already (${ended.status}); ${advice}`, {
    status: 409,
    code: 'round_ended',
    retry: false,
  });
}

const resource = {
  kind: 'round',
  table: rounds,
  item: round,
  toResponses: (rows: RoundRow[], { db }: Ports, readable: string | null) => toResponses(db, rows, readable),
};

export const listRounds = listOperation({ summary: 'Lists rounds', ...resource });
export const getRound = getOperation({ summary: 'One round', ...resource });

export const listRoundMetrics = defineOperation({
  scopes: ['read'],
  summary: 'The metrics of every recorded step, and each pair’s log-probabilities where they were evaluated',
  response: z.object({ object: z.literal('list'), data: z.array(stepMetrics) }),
  async handler({ ports: { db }, param }) {
    const { id } = await findOr404(db, rounds, 'round', param('id'), null);
    const rows = await db
      .select()
      .from(round_metrics)
      .where(eq(round_metrics.round_id, id))
      .orderBy(asc(round_metrics.step), asc(round_metrics.split));
    return {
      object: 'list',
      data: rows.map((row) => ({ step_number: row.step, split: row.split, metrics: row.values, logps: row.logps })),
    };
  },
});

export const streamRoundEvents = defineOperation({
  scopes: ['read'],
  summary: 'The events of a round, as server-sent events from the first one (or Last-Event-ID) until the round ends',
  response: serverSentEvent,
  responseType: 'text/event-stream',
  async handler({ ports, context, param }) {
    const { db, roundEvents, concurrencyLimits } = ports;
    const { id } = await findOr404(db, rounds, 'round', param('id'), null);
    // The body of a HEAD response is never read, so its stream would never be cancelled.
    if (context.req.method === 'HEAD') return new Response(null, { headers: { 'content-type': 'text/event-stream' } });
    const lastEventId = Number(context.req.header('last-event-id') ?? 0);
    const after = Number.isSafeInteger(lastEventId) ? lastEventId : 0;
    const leave = concurrencyLimits?.eventStreams.enter(getCallerId(context));
    const abort = new AbortController();
    return streamEvents(
      abort,
      async (send) => {
        try {
          const follower = {
            roundId: id,
            after,
            findRefusal: () => findRefusal(ports, context),
            signal: abort.signal,
          };
          const row = await roundEvents.follow(follower, (event) => {
            const { level, message, type, data } = event;
            send({ level, message, type, data, created_at: toUnixSeconds(event.created_at) }, { id: String(event.id) });
          });
          if (!row) return;
          const [ended] = await toResponses(db, [row], getReadableTenant(context));
          send(ended, { event: 'done' });
        } finally {
          leave?.();
        }
      },
      context.get('record'),
    );
  },
});
