// One rater's choice: on a comparison, between two generations, or between two given texts. Committed before it is
// answered; what a comparison was voted on is fixed, one vote for each rater.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { eq, inArray } from 'drizzle-orm';
import { comparisons, generations, preferences } from '../../shared/database/schema.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import { isUniqueViolation } from '../../shared/postgres-errors.ts';
import { findPreference } from '../../shared/preferences/store.ts';
import { runOnce, type Transaction } from '../http/idempotency.ts';
import { addOperation } from '../http/operation.ts';
import { listQuery, listSchema, selectPage, toPage } from '../http/pagination.ts';
import type { Ports } from '../ports.ts';
import { promptSchema } from './comparisons.ts';
import { messages } from './messages.ts';

const text = z.string().min(1, 'give it some text');

const preferenceBody = z
  .strictObject({
    comparison: z
      .string()
      .min(1, 'give the id of a comparison')
      .optional()
      .openapi({ description: 'a comparison to vote on, with choice' }),
    choice: z.enum(['a', 'b', 'tie', 'both_bad', 'skip']).optional(),
    chosen: text.optional().openapi({ description: 'a generation id; with prompt or messages: the text itself' }),
    rejected: text.optional(),
    prompt: text.optional(),
    messages: messages.optional(),
    rater: z.string().min(1).max(200).default('anonymous'),
    metadata: z.record(z.string(), z.unknown()).nullish(),
    id: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .openapi({ description: 'an idempotency key, as the header Idempotency-Key is' }),
  })
  .superRefine((body, context) => {
    const refuse = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message });
    if (body.comparison !== undefined) {
      if (body.choice === undefined) refuse('choice', 'say which: a, b, tie, both_bad or skip');
      for (const field of ['chosen', 'rejected', 'prompt', 'messages'] as const)
        if (body[field] !== undefined) refuse(field, 'a vote on a comparison has only a choice; leave it out');
      return;
    }
    if (body.choice !== undefined) refuse('choice', 'a choice needs the comparison that it is about');
    if (body.chosen === undefined) refuse('chosen', 'give a comparison with a choice, or chosen and rejected');
    else if (body.rejected === undefined) refuse('rejected', 'give the other side too');
    else if (body.chosen === body.rejected)
      refuse('rejected', 'chosen and rejected are the same; a preference needs two sides');
    if (body.prompt !== undefined && body.messages !== undefined) refuse('messages', 'give either messages or prompt');
  });

type PreferenceBody = z.output<typeof preferenceBody>;
type PreferenceRow = typeof preferences.$inferSelect;

const sideSchema = z.object({ text: z.string(), generation: z.string().nullable() });

const preference = z
  .object({
    id: z.string(),
    object: z.literal('preference'),
    created: z.number(),
    source: z.string(),
    comparison: z.string().nullable(),
    choice: z.string(),
    rater: z.string(),
    prompt: promptSchema,
    chosen: sideSchema,
    rejected: sideSchema,
    metadata: z.record(z.string(), z.unknown()).nullable(),
  })
  .openapi('Preference');

const show = (row: PreferenceRow): z.output<typeof preference> => ({
  id: row.id,
  object: 'preference',
  created: Math.floor(row.created_at.getTime() / 1000),
  source: row.source,
  comparison: row.comparison_id,
  choice: row.choice,
  rater: row.rater,
  prompt: row.prompt,
  chosen: { text: row.chosen, generation: row.chosen_generation_id },
  rejected: { text: row.rejected, generation: row.rejected_generation_id },
  metadata: row.metadata,
});

export function addPreferences(app: OpenAPIHono, { db }: Ports): void {
  addOperation(
    app,
    {
      method: 'post',
      path: '/v1/preferences',
      tag: 'Collect',
      summary:
        'Takes a preference: {comparison, choice}, {chosen, rejected} of generation ids, or {prompt, chosen, rejected}',
      body: preferenceBody,
      response: preference,
    },
    async ({ context, body }) => {
      const key = context.req.header('idempotency-key') ?? body.id;
      const store = (transaction: Transaction) => storePreference(transaction, body);
      return show(revive(await runOnce(db, { scope: 'preferences', key, content: body }, async () => {}, store)));
    },
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/preferences',
      tag: 'Collect',
      summary: 'Lists preferences',
      query: listQuery,
      response: listSchema(preference),
    },
    async ({ query }) => {
      const rows = await selectPage(db, preferences, query);
      return toPage(rows, query.limit, show);
    },
  );

  addOperation(
    app,
    { method: 'get', path: '/v1/preferences/{id}', tag: 'Collect', summary: 'One preference', response: preference },
    async ({ param }) => {
      const row = await findPreference(db, param('id'));
      if (!row)
        throw new AttuneError(`there is no preference ${param('id')}`, { status: 404, param: 'id', code: 'not_found' });
      return show(row);
    },
  );
}

/** A replayed row comes back from JSON, where its date is a text. */
function revive(row: PreferenceRow): PreferenceRow {
  return { ...row, created_at: new Date(row.created_at) };
}

async function storePreference(transaction: Transaction, body: PreferenceBody): Promise<PreferenceRow> {
  const said = body.comparison
    ? await fromComparison(transaction, body)
    : body.prompt !== undefined || body.messages !== undefined
      ? fromTexts(body)
      : await fromGenerations(transaction, body);
  const row: PreferenceRow = {
    id: newId('pref_'),
    rater: body.rater,
    metadata: body.metadata ?? null,
    content_hash: await hashContent({ ...said, rater: body.rater }),
    created_at: new Date(),
    ...said,
  };
  try {
    await transaction.insert(preferences).values(row);
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    throw new AttuneError(
      `comparison: rater ${JSON.stringify(body.rater)} has voted on ${body.comparison} already; each rater votes once`,
      { status: 409, param: 'comparison', code: 'already_voted', retry: false },
    );
  }
  return row;
}

type Said = Pick<
  PreferenceRow,
  | 'source'
  | 'comparison_id'
  | 'choice'
  | 'prompt'
  | 'chosen'
  | 'rejected'
  | 'chosen_generation_id'
  | 'rejected_generation_id'
>;

async function fromComparison(transaction: Transaction, body: PreferenceBody): Promise<Said> {
  const [row] = await transaction.select().from(comparisons).where(eq(comparisons.id, body.comparison!));
  if (!row)
    throw new AttuneError(`comparison: there is no comparison ${body.comparison}`, {
      status: 404,
      param: 'comparison',
      code: 'not_found',
    });
  const [chosenId, rejectedId] =
    body.choice === 'b' ? [row.b_generation_id, row.a_generation_id] : [row.a_generation_id, row.b_generation_id];
  const [chosen, rejected] = await bothGenerations(transaction, chosenId, rejectedId);
  return {
    source: 'comparison',
    comparison_id: row.id,
    choice: body.choice!,
    prompt: row.prompt,
    chosen: chosen.text,
    rejected: rejected.text,
    chosen_generation_id: chosenId,
    rejected_generation_id: rejectedId,
  };
}

async function fromGenerations(transaction: Transaction, body: PreferenceBody): Promise<Said> {
  const [chosen, rejected] = await bothGenerations(transaction, body.chosen!, body.rejected!);
  if (JSON.stringify(chosen.prompt_token_ids) !== JSON.stringify(rejected.prompt_token_ids))
    throw new AttuneError(
      'rejected: the two generations answer different prompts; a preference compares two answers to one',
      {
        param: 'rejected',
        code: 'different_prompts',
      },
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
  };
}

function fromTexts(body: PreferenceBody): Said {
  return {
    source: 'raw',
    comparison_id: null,
    choice: 'a',
    prompt: body.messages ?? body.prompt!,
    chosen: body.chosen!,
    rejected: body.rejected!,
    chosen_generation_id: null,
    rejected_generation_id: null,
  };
}

async function bothGenerations(transaction: Transaction, chosenId: string, rejectedId: string) {
  const rows = await transaction
    .select()
    .from(generations)
    .where(inArray(generations.id, [chosenId, rejectedId]));
  const find = (id: string, param: string) => {
    const row = rows.find((candidate) => candidate.id === id);
    if (!row)
      throw new AttuneError(
        `${param}: there is no stored generation ${id}; give a generation id, or add the prompt and both texts`,
        {
          status: 404,
          param,
          code: 'not_found',
        },
      );
    return row;
  };
  return [find(chosenId, 'chosen'), find(rejectedId, 'rejected')] as const;
}
