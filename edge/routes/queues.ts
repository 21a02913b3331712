// Queues: prompts with guidelines, whose two responses raters compare until each has its number of reviews.

import { z } from '@hono/zod-openapi';
import { and, eq, or, type SQL, sql } from 'drizzle-orm';
import type { Context } from 'hono';
import { queueName, tenantName } from '../../shared/access/names.ts';
import type { Database } from '../../shared/database/connect.ts';
import { queues, raters } from '../../shared/database/schema.ts';
import { queueSettingsChanges, queueSettingsSchema } from '../../shared/queue-settings.ts';
import { countItems } from '../../shared/queues/count-items.ts';
import {
  createQueue as create,
  findGuidelines,
  lockQueue,
  type QueueRow,
  updateQueue as update,
} from '../../shared/queues/queues.ts';
import { isAllowed } from '../../shared/queues/rater-standing.ts';
import { hasScope } from '../../shared/scopes.ts';
import { notFound } from '../http/errors.ts';
import { defineOperation } from '../http/operation.ts';
import { listSchema, ownedListQuery, selectPage, toPage } from '../http/pagination.ts';
import { findOr404, toUnixSeconds } from '../http/resource.ts';
import { getCallerId, getReadableTenant, getScopes, selectTenant } from '../middleware/auth.ts';

const MAX_GUIDELINES_LENGTH = 100_000;

const guidelines = z.string().max(MAX_GUIDELINES_LENGTH).openapi({ description: 'Markdown, shown to raters' });
const status = z.enum(['open', 'closed']);

const counted = z.object({ pending: z.number(), open: z.number(), done: z.number(), dropped: z.number() });

const { gold_share, repeat_share, pause, raters: allowed, calibration } = queueSettingsSchema.shape;

/** Null for a rater, who would learn from it how many items measure raters, what they may get wrong, and who else rates. */
const forOperators = <S extends z.ZodType>(schema: S) =>
  schema.nullable().openapi({ description: 'null for callers with neither operate nor read' });

const settings = queueSettingsSchema.extend({
  gold_share: forOperators(gold_share.unwrap()),
  repeat_share: forOperators(repeat_share.unwrap()),
  pause: forOperators(pause.unwrap()),
  raters: forOperators(allowed.unwrap()),
  calibration: calibration.unwrap().extend({ accuracy: forOperators(calibration.unwrap().shape.accuracy.unwrap()) }),
});

const queue = z
  .object({
    id: z.string(),
    object: z.literal('queue'),
    created: z.number(),
    name: z.string(),
    status,
    guidelines: z.object({ version: z.number(), text: z.string() }),
    settings,
    items: forOperators(z.object({ rated: counted, gold: z.number(), calibration: z.number() })),
    reviews: forOperators(z.object({ done: z.number(), needed: z.number() })),
    tenant: z.string(),
    created_by: z.string(),
  })
  .openapi('Queue');

export const createQueue = defineOperation({
  scopes: ['operate'],
  summary: 'Creates a queue of prompts for raters',
  idempotent: true,
  body: queueSettingsSchema.extend({
    name: queueName,
    guidelines: guidelines.default(''),
    tenant: tenantName.optional().openapi({ description: 'for administrators; default: your own' }),
  }),
  response: queue,
  handler: ({ context, commit, body: { name, guidelines, tenant, ...settings } }) => {
    const owner = { tenant: selectTenant(context, tenant), created_by: getCallerId(context) };
    return commit(async (transaction) => {
      const row = await create(transaction, { name, guidelines, settings }, owner);
      return (await toResponses([row], transaction))[0]!;
    });
  },
});

export const updateQueue = defineOperation({
  scopes: ['operate'],
  summary: 'Changes, closes or reopens a queue; other guidelines are another version, and earlier votes keep theirs',
  idempotent: true,
  body: queueSettingsChanges
    .extend({ name: queueName.optional(), status: status.optional(), guidelines: guidelines.optional() })
    .refine((body) => Object.keys(body).length > 0, 'give name, status, guidelines or a setting'),
  response: queue,
  handler: ({ context, commit, param, body: { name, status, guidelines, ...settings } }) =>
    commit(async (transaction) => {
      const found = await findQueue(transaction, context, param('id'));
      const row = await lockQueue(transaction, found.id, 'update');
      if (!row) throw notFound('queue', found.id);
      const changes = { name, status, guidelines, settings };
      return (await toResponses([await update(transaction, row, changes, getCallerId(context))], transaction))[0]!;
    }),
});

export const listQueues = defineOperation({
  scopes: ['operate', 'read', 'rate'],
  summary: 'Lists queues; for a rater: the open ones that the rater may rate in',
  query: ownedListQuery,
  response: listSchema(queue),
  async handler({ ports, context, query }) {
    const tenant = selectTenant(context, query.tenant);
    const filter = mayReadAll(context) ? undefined : isOpenTo(getCallerId(context));
    const { rows, hasMore } = await selectPage(ports.db, queues, query, 'queue', { tenant, filter });
    return toPage(
      (await toResponses(rows, ports.db)).map((row) => toVisible(context, row)),
      hasMore,
    );
  },
});

export const getQueue = defineOperation({
  scopes: ['operate', 'read', 'rate'],
  summary: 'One queue',
  response: queue,
  async handler({ ports, context, param }) {
    const row = await findQueue(ports.db, context, param('id'));
    await assertVisible(ports.db, context, row, getCallerId(context));
    return toVisible(context, (await toResponses([row], ports.db))[0]!);
  },
});

/** Throws a 404 if the caller's tenant has no such queue. */
export function findQueue(db: Pick<Database, 'select'>, context: Context, id: string): Promise<QueueRow> {
  return findOr404(db, queues, 'queue', id, getReadableTenant(context));
}

/** As the caller may see it. */
function toVisible(context: Context, response: z.output<typeof queue>): z.output<typeof queue> {
  if (mayReadAll(context)) return response;
  const { settings } = response;
  const hidden = { gold_share: null, repeat_share: null, pause: null, raters: null };
  const calibration = { ...settings.calibration, accuracy: null };
  return { ...response, settings: { ...settings, ...hidden, calibration }, items: null, reviews: null };
}

/** Throws the 404 of an unknown id if the rater is none of those of the queue. */
export async function assertVisible(
  db: Pick<Database, 'select'>,
  context: Context,
  { id, settings }: QueueRow,
  rater: string,
): Promise<void> {
  if (!mayReadAll(context) && !(await isAllowed(db, settings, rater))) throw notFound('queue', id);
}

function mayReadAll(context: Context): boolean {
  return hasScope(getScopes(context), ['operate', 'read']);
}

/** As isAllowed, in SQL. */
function isOpenTo(rater: string): SQL | undefined {
  const [ids, skills] = [sql`${queues.settings}->'raters'`, sql`${queues.settings}->'skills'`];
  return and(
    eq(queues.status, 'open'),
    or(
      sql`${ids} = '[]' and ${skills} = '[]'`,
      sql`jsonb_exists(${ids}, ${rater})`,
      sql`jsonb_exists_any(${skills}, (select skills from ${raters} where id = ${rater}))`,
    ),
  );
}

async function toResponses(rows: QueueRow[], db: Pick<Database, 'select'>): Promise<z.output<typeof queue>[]> {
  const texts = await findGuidelines(db, rows);
  const counts = await countItems(db, rows);
  return rows.map((row) => ({
    id: row.id,
    object: 'queue',
    created: toUnixSeconds(row.created_at),
    name: row.name,
    status: row.status,
    guidelines: { version: row.guidelines_version, text: texts.get(row.id) ?? '' },
    settings: row.settings,
    ...counts.get(row.id)!,
    tenant: row.tenant,
    created_by: row.created_by,
  }));
}
