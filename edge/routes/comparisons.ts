// Two generations of one prompt shown side by side. Which policy made which side, and the generations' ids that would
// tell, stay hidden until somebody has voted.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { eq, inArray } from 'drizzle-orm';
import { comparisons, generations, type Prompt, preferences } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import { decode, type GenerationRow, startDecoding, storeGenerations } from '../generation/decode.ts';
import { type CompletionRequest, type PreparedCompletion, prepareCompletion } from '../generation/prepare.ts';
import { runOnce } from '../http/idempotency.ts';
import { addOperation } from '../http/operation.ts';
import { listQuery, listSchema, selectPage, toPage } from '../http/pagination.ts';
import { type Caller, getCaller } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { messages } from './messages.ts';
import { samplingFields, toSampling } from './sampling.ts';

const comparisonBody = z
  .strictObject({
    messages: messages.optional(),
    prompt: z.string().min(1, 'give the prompt some text').optional(),
    model: z.string().optional().openapi({ description: 'the policy of both sides; the active one unless told' }),
    models: z
      .tuple([z.string(), z.string()])
      .optional()
      .openapi({ description: 'one policy for each side, in any order' }),
    ...samplingFields,
    id: z
      .string()
      .min(1)
      .max(200)
      .optional()
      .openapi({ description: 'an idempotency key, as the header Idempotency-Key is' }),
  })
  .refine((body) => (body.messages === undefined) !== (body.prompt === undefined), {
    path: ['messages'],
    error: 'give either messages or prompt',
  })
  .refine((body) => body.model === undefined || body.models === undefined, {
    path: ['models'],
    error: 'give either model or models',
  });

const side = z.object({
  text: z.string(),
  finish_reason: z.string(),
  generation: z.string().optional(),
  model: z.string().optional(),
});

export const promptSchema = z.union([z.string(), z.array(z.object({ role: z.string(), content: z.string() }))]);

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
  })
  .openapi('Comparison');

type ComparisonRow = typeof comparisons.$inferSelect;
type Shown = z.output<typeof comparison>;
type Generation = Pick<GenerationRow, 'id' | 'text' | 'finish_reason' | 'policy_id'>;

export function addComparisons(app: OpenAPIHono, ports: Ports): void {
  const { db } = ports;
  addOperation(
    app,
    {
      method: 'post',
      path: '/v1/comparisons',
      tag: 'Collect',
      summary: 'Generates two answers to one prompt for somebody to choose between',
      body: comparisonBody,
      response: comparison,
    },
    async ({ context, body }) => {
      const key = context.req.header('idempotency-key') ?? body.id;
      const prompt: Prompt = body.messages ?? body.prompt!;
      const generate = () => generateSides(ports, prompt, body, getCaller(context));
      return runOnce(db, { scope: 'comparisons', key, content: body }, generate, async (transaction, rows) => {
        const swapped = crypto.getRandomValues(new Uint8Array(1))[0]! < 128;
        const [a, b] = swapped ? [rows[1]!, rows[0]!] : [rows[0]!, rows[1]!];
        const row: ComparisonRow = {
          id: newId('cmp_'),
          prompt,
          a_generation_id: a.id,
          b_generation_id: b.id,
          swapped,
          metadata: body.metadata ?? null,
          created_at: new Date(),
        };
        await storeGenerations(transaction, rows);
        await transaction.insert(comparisons).values(row);
        return show(row, a, b, false);
      });
    },
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/comparisons',
      tag: 'Collect',
      summary: 'Lists comparisons',
      query: listQuery,
      response: listSchema(comparison),
    },
    async ({ query }) => {
      const rows = await selectPage(db, comparisons, query);
      const shown = new Map((await showAll(db, rows)).map((item) => [item.id, item]));
      return toPage(rows, query.limit, (row) => shown.get(row.id)!);
    },
  );

  addOperation(
    app,
    { method: 'get', path: '/v1/comparisons/{id}', tag: 'Collect', summary: 'One comparison', response: comparison },
    async ({ param }) => {
      const rows = await db
        .select()
        .from(comparisons)
        .where(eq(comparisons.id, param('id')));
      if (rows.length === 0)
        throw new AttuneError(`there is no comparison ${param('id')}`, { status: 404, param: 'id', code: 'not_found' });
      return (await showAll(db, rows))[0];
    },
  );
}

/** The two generations, in the order in which their policies were asked for. */
async function generateSides(
  ports: Ports,
  prompt: Prompt,
  body: z.output<typeof comparisonBody>,
  caller: Caller,
): Promise<GenerationRow[]> {
  const request = (n: number, seed: number | null): CompletionRequest => ({
    kind: typeof prompt === 'string' ? 'text' : 'chat',
    prompt,
    n,
    sampling: { ...toSampling(body, 0), seed },
    user: body.user ?? null,
    metadata: body.metadata ?? null,
    store: true,
  });
  const models = body.models ?? [body.model];
  const drafts: PreparedCompletion[] = [];
  for (const [at, model] of models.entries()) {
    // Two policies under one seed would draw the same random numbers; each side has its own.
    const asked = request(body.models ? 1 : 2, body.seed == null ? null : body.seed + at);
    drafts.push(prepareCompletion(await ports.inference.getPolicy(model), asked));
  }
  const { runs, interruption } = await decode(startDecoding(ports, drafts, caller));
  if (interruption) throw interruption;
  return runs.flatMap((run) => run.rows);
}

async function showAll(db: Ports['db'], rows: ComparisonRow[]): Promise<Shown[]> {
  if (rows.length === 0) return [];
  const ids = rows.flatMap((row) => [row.a_generation_id, row.b_generation_id]);
  const found = await db.select().from(generations).where(inArray(generations.id, ids));
  const byId = new Map(found.map((row) => [row.id, row]));
  const votes = await db
    .selectDistinct({ id: preferences.comparison_id })
    .from(preferences)
    .where(
      inArray(
        preferences.comparison_id,
        rows.map((row) => row.id),
      ),
    );
  const voted = new Set(votes.map((vote) => vote.id));
  return rows.map((row) =>
    show(row, byId.get(row.a_generation_id)!, byId.get(row.b_generation_id)!, voted.has(row.id)),
  );
}

function show(row: ComparisonRow, a: Generation, b: Generation, voted: boolean): Shown {
  const showSide = (generation: Generation) => ({
    text: generation.text,
    finish_reason: generation.finish_reason,
    ...(voted ? { generation: generation.id, model: generation.policy_id } : {}),
  });
  return {
    id: row.id,
    object: 'comparison',
    created: Math.floor(row.created_at.getTime() / 1000),
    prompt: row.prompt,
    a: showSide(a),
    b: showSide(b),
    voted,
    metadata: row.metadata,
  };
}
