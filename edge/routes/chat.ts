// POST /v1/chat/completions, and the stored completions behind GET.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { and, asc, eq, sql } from 'drizzle-orm';
import { generations } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';
import {
  type CompletionRequest,
  type Draft,
  draftCompletion,
  type GenerationRow,
  runCompletion,
  startDecoding,
  storeGenerations,
} from '../completion.ts';
import { addOperation } from '../endpoint.ts';
import type { TokenEvent } from '../generation/inference.ts';
import { listOf, listQuery, selectPage, toPage } from '../list.ts';
import type { Ports } from '../ports.ts';
import { streamEvents } from '../stream.ts';
import { messages } from './messages.ts';
import { countUsage, MOST_CHOICES, samplingFields, toSampling, usageSchema } from './sampling.ts';
import { describeTokens } from './token-logprobs.ts';

const { max_tokens, ...sharedFields } = samplingFields;

const chatBody = z
  .strictObject({
    model: z.string().optional().openapi({ description: '`attune` or nothing: the active policy; an id: that policy' }),
    messages,
    n: z.number().int().min(1).max(MOST_CHOICES).nullish(),
    max_tokens,
    max_completion_tokens: max_tokens,
    ...sharedFields,
    logprobs: z.boolean().nullish(),
    top_logprobs: z.number().int().min(0).max(20).nullish(),
    stream: z.boolean().nullish(),
    stream_options: z.strictObject({ include_usage: z.boolean().optional() }).nullish(),
    store: z.boolean().nullish().openapi({ description: 'false: nothing is kept, and it cannot be voted on' }),
  })
  .refine((body) => body.top_logprobs == null || body.logprobs, {
    path: ['top_logprobs'],
    error: 'needs logprobs: true',
  });

const chatCompletion = z
  .object({
    id: z.string(),
    object: z.literal('chat.completion'),
    created: z.number(),
    model: z.string(),
    choices: z.array(
      z.object({
        index: z.number(),
        generation_id: z.string(),
        message: z.object({ role: z.literal('assistant'), content: z.string(), refusal: z.null() }),
        finish_reason: z.string(),
        logprobs: z.unknown(),
      }),
    ),
    usage: usageSchema,
    system_fingerprint: z.string(),
    metadata: z.record(z.string(), z.string()).nullable().optional(),
  })
  .openapi('ChatCompletion');

/** A side of a comparison names its policy, so it stays hidden until somebody has voted. */
const isSeen = sql`not exists (
  select 1 from comparisons where ${generations.id} in (a_generation_id, b_generation_id)
  and not exists (select 1 from preferences where comparison_id = comparisons.id))`;

type ChatBody = z.output<typeof chatBody>;

export function addChat(app: OpenAPIHono, ports: Ports): void {
  addOperation(
    app,
    {
      method: 'post',
      path: '/v1/chat/completions',
      tag: 'Generate',
      summary: 'Answers a chat; with stream: true as server-sent events',
      body: chatBody,
      response: chatCompletion,
    },
    async ({ context, body }) => {
      const policy = await ports.inference.policy(body.model);
      const request = toRequest(body);
      const draft = await draftCompletion(policy, request);
      if (body.stream) return streamChat(ports, draft, request, body);
      const { rows, tokens, cancelled } = await runCompletion(
        draft,
        request,
        startDecoding(draft, context.req.raw.signal),
      );
      if (request.store) await storeGenerations(ports.db, rows);
      if (cancelled)
        throw new AttuneError('the request was cancelled', { status: 499, code: 'cancelled', retry: false });
      return showCompletion(
        rows,
        body.logprobs ? tokens.map((list) => describeTokens(policy.tokenizer, list)) : undefined,
      );
    },
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/chat/completions',
      tag: 'Generate',
      summary: 'Lists stored chat completions',
      query: listQuery,
      response: listOf(chatCompletion),
    },
    async ({ query }) => {
      const rows = await selectPage(
        ports.db,
        generations,
        query,
        and(eq(generations.kind, 'chat'), eq(generations.choice, 0), isSeen),
      );
      return toPage(rows, query.limit, (row) => showCompletion([row]));
    },
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/chat/completions/{id}',
      tag: 'Generate',
      summary: 'A stored chat completion',
      response: chatCompletion,
    },
    async ({ param }) => {
      const rows = await ports.db
        .select()
        .from(generations)
        .where(and(eq(generations.completion_id, param('id')), eq(generations.kind, 'chat'), isSeen))
        .orderBy(asc(generations.choice));
      if (rows.length === 0)
        throw new AttuneError(`there is no stored completion ${param('id')}`, {
          status: 404,
          param: 'id',
          code: 'not_found',
        });
      return showCompletion(rows);
    },
  );
}

function toRequest(body: ChatBody): CompletionRequest {
  return {
    kind: 'chat',
    prompt: body.messages,
    n: body.n ?? 1,
    sampling: toSampling(
      { ...body, max_tokens: body.max_completion_tokens ?? body.max_tokens },
      body.logprobs ? (body.top_logprobs ?? 0) : 0,
    ),
    user: body.user ?? null,
    metadata: body.metadata ?? null,
    store: body.store !== false,
  };
}

function showCompletion(rows: GenerationRow[], logprobs?: unknown[]): z.input<typeof chatCompletion> {
  const first = rows[0]!;
  return {
    id: first.completion_id,
    object: 'chat.completion',
    created: Math.floor((first.created_at as Date).getTime() / 1000),
    model: first.policy_id,
    choices: rows.map((row, index) => ({
      index,
      generation_id: row.id,
      message: { role: 'assistant', content: row.text, refusal: null },
      finish_reason: row.finish_reason,
      logprobs: logprobs ? { content: logprobs[index], refusal: null } : null,
    })),
    usage: countUsage(
      first.prompt_token_ids.length,
      rows.reduce((sum, row) => sum + row.token_ids.length, 0),
    ),
    system_fingerprint: first.policy_id,
    metadata: first.metadata,
  };
}

function streamChat(ports: Ports, draft: Draft, request: CompletionRequest, body: ChatBody): Response {
  const abort = new AbortController();
  const usage = body.stream_options?.include_usage ? { usage: null } : {};
  const chunk = (choices: unknown[], extra: object = usage) => ({
    id: draft.id,
    object: 'chat.completion.chunk',
    created: draft.created,
    model: draft.policy.id,
    system_fingerprint: draft.policy.id,
    choices,
    ...extra,
  });
  const logprobsOf = (event: TokenEvent) =>
    body.logprobs ? { content: describeTokens(draft.policy.tokenizer, [event]), refusal: null } : null;
  const decoding = startDecoding(draft, abort.signal);
  const sent = draft.ids.map(() => 0);
  return streamEvents(abort, async (send) => {
    for (const [index, generation_id] of draft.ids.entries())
      send(
        chunk([
          {
            index,
            generation_id,
            delta: { role: 'assistant', content: '', refusal: null },
            logprobs: null,
            finish_reason: null,
          },
        ]),
      );
    const { rows } = await runCompletion(draft, request, decoding, (event) => {
      sent[event.index]! += event.text.length;
      if (event.text || body.logprobs)
        send(
          chunk([
            { index: event.index, delta: { content: event.text }, logprobs: logprobsOf(event), finish_reason: null },
          ]),
        );
    });
    // Committed before the last byte: the id in the stream can be voted on as soon as the client has read it all.
    if (request.store) await storeGenerations(ports.db, rows);
    for (const [index, row] of rows.entries()) {
      const held = row.text.slice(sent[index]);
      send(chunk([{ index, delta: held ? { content: held } : {}, logprobs: null, finish_reason: row.finish_reason }]));
    }
    if (body.stream_options?.include_usage) {
      const completion = rows.reduce((sum, row) => sum + row.token_ids.length, 0);
      send(chunk([], { usage: countUsage(draft.promptIds.length, completion) }));
    }
    send('[DONE]');
  });
}
