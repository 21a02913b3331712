// Rounds of training: asked for here, run by the trainer, watched here. They look like OpenAI's fine-tuning jobs.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { and, asc, eq, gt } from 'drizzle-orm';
import { gateReport, ROUND_STAGES, ROUND_STATUSES } from '../../shared/database/round-types.ts';
import { round_events, round_metrics, rounds } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { requestRound } from '../../shared/rounds/schedule.ts';
import { roundMethod } from '../../shared/rounds/settings.ts';
import { addOperation } from '../http/operation.ts';
import { listQuery, listSchema, selectPage, toPage } from '../http/pagination.ts';
import { streamEvents } from '../http/sse.ts';
import type { Ports } from '../ports.ts';

const round = z
  .object({
    id: z.string(),
    object: z.literal('round'),
    status: z.enum(ROUND_STATUSES),
    stage: z.enum(ROUND_STAGES),
    trigger: z.string(),
    method: z.object({ type: z.literal('dil'), dil: z.record(z.string(), z.unknown()) }),
    reference: z.string().nullable(),
    parent: z.string().nullable(),
    policy: z.string().nullable().openapi({ description: 'what it published; null where the gate refused' }),
    pairs: z.record(z.string(), z.unknown()).nullable(),
    metrics: z.record(z.string(), z.number()).nullable(),
    gate: gateReport.nullable(),
    reason: z.string().nullable(),
    created_at: z.number(),
    started_at: z.number().nullable(),
    finished_at: z.number().nullable(),
  })
  .openapi('Round');

type RoundRow = typeof rounds.$inferSelect;

const seconds = (date: Date | null) => (date ? Math.floor(date.getTime() / 1000) : null);

const show = (row: RoundRow): z.output<typeof round> => ({
  id: row.id,
  object: 'round',
  status: row.status,
  stage: row.stage,
  trigger: row.trigger,
  method: { type: 'dil', dil: row.settings },
  reference: row.reference_id,
  parent: row.parent_id,
  policy: row.policy_id,
  pairs: row.pairs,
  metrics: row.metrics,
  gate: row.gate,
  reason: row.reason,
  created_at: seconds(row.created_at)!,
  started_at: seconds(row.started_at),
  finished_at: seconds(row.finished_at),
});

const checkpoint = z.object({
  step_number: z.number(),
  split: z.string(),
  metrics: z.record(z.string(), z.number()),
  logps: z.object({ chosen: z.array(z.number()), rejected: z.array(z.number()) }).nullable(),
});

export function addRounds(app: OpenAPIHono, ports: Ports): void {
  const { db } = ports;
  const find = async (id: string): Promise<RoundRow> => {
    const [row] = await db.select().from(rounds).where(eq(rounds.id, id));
    if (!row) throw new AttuneError(`there is no round ${id}`, { status: 404, param: 'id', code: 'not_found' });
    return row;
  };

  addOperation(
    app,
    {
      method: 'post',
      path: '/v1/rounds',
      tag: 'Learn',
      summary: 'Asks for a round of training now; a trainer takes it up in order',
      body: z.strictObject({ method: roundMethod.optional() }),
      response: round,
    },
    async ({ body }) => show(await requestRound(db, 'api', body.method?.dil ?? {})),
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/rounds',
      tag: 'Learn',
      summary: 'Lists rounds',
      query: listQuery,
      response: listSchema(round),
    },
    async ({ query }) => {
      const rows = await selectPage(db, rounds, query);
      return toPage(rows, query.limit, show);
    },
  );

  addOperation(
    app,
    { method: 'get', path: '/v1/rounds/{id}', tag: 'Learn', summary: 'One round', response: round },
    async ({ param }) => show(await find(param('id'))),
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/rounds/{id}/metrics',
      tag: 'Learn',
      summary: 'The metrics of every recorded step, and each pair’s log-probabilities where they were evaluated',
      response: z.object({ object: z.literal('list'), data: z.array(checkpoint) }),
    },
    async ({ param }) => {
      const { id } = await find(param('id'));
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
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/rounds/{id}/events',
      tag: 'Learn',
      summary: 'What happens in a round, as server-sent events from its beginning (or Last-Event-ID) until it ends',
      response: z.object({
        level: z.string(),
        message: z.string(),
        type: z.string(),
        data: z.unknown(),
        created_at: z.number(),
      }),
    },
    async ({ context, param }) => {
      const { id } = await find(param('id'));
      // Nobody reads what follows a HEAD, and nobody would end it.
      if (context.req.method === 'HEAD')
        return new Response(null, { headers: { 'content-type': 'text/event-stream' } });
      const last = Number(context.req.header('last-event-id') ?? 0);
      const abort = new AbortController();
      return streamEvents(abort, async (send) => {
        let after = Number.isSafeInteger(last) ? last : 0;
        while (!abort.signal.aborted) {
          // The status is read before the events: what is written in between is still sent.
          const { status } = await find(id);
          const events = await db
            .select()
            .from(round_events)
            .where(and(eq(round_events.round_id, id), gt(round_events.id, after)))
            .orderBy(asc(round_events.id));
          for (const event of events) {
            after = event.id;
            const { level, message, type, data } = event;
            send({ level, message, type, data, created_at: seconds(event.created_at) }, { id: String(event.id) });
          }
          if (status !== 'queued' && status !== 'running') {
            send(show(await find(id)), { event: 'done' });
            return;
          }
          await ports.waitForChange(1000);
        }
      });
    },
  );
}
