// POST /v1/chat/completions: answers a chat, whole or as a stream.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import type { TokenEvent } from '../engine/inference.ts';
import { decodeAndStore, type GenerationRow, startDecoding } from '../generation/decode.ts';
import { type CompletionRequest, type PreparedCompletion, prepareCompletion } from '../generation/prepare.ts';
import { addOperation } from '../http/operation.ts';
import { streamEvents } from '../http/sse.ts';
import { type Caller, getCaller } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { toTokenLogprobs } from './logprobs.ts';
import { messages } from './messages.ts';
import { MAX_CHOICES, samplingFields, toSampling, toUsage, usageSchema } from './sampling.ts';

const { max_tokens, ...sharedFields } = samplingFields;

const chatBody = z
  .strictObject({
    model: z.string().optional().openapi({ description: '`attune` or nothing: the active policy; an id: that policy' }),
    messages,
    n: z.number().int().min(1).max(MAX_CHOICES).nullish(),
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

export const chatCompletion = z
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
      const policy = await ports.inference.getPolicy(body.model);
      const draft = prepareCompletion(policy, toRequest(body));
      const caller = getCaller(context);
      if (body.stream) return streamChat(ports, draft, body, caller);
      const [run] = await decodeAndStore(ports, startDecoding(ports, [draft], caller));
      const { rows, tokens } = run!;
      return toChatCompletion(
        rows,
        body.logprobs ? tokens.map((list) => toTokenLogprobs(policy.tokenizer, list)) : undefined,
      );
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
    ...(body.max_completion_tokens == null ? {} : { lengthField: 'max_completion_tokens' }),
    user: body.user ?? null,
    metadata: body.metadata ?? null,
    store: body.store !== false,
  };
}

/** The choices of one completion as it is answered. */
export function toChatCompletion(rows: GenerationRow[], logprobs?: unknown[]): z.input<typeof chatCompletion> {
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
    usage: toUsage(
      first.prompt_token_ids.length,
      rows.reduce((sum, row) => sum + row.token_ids.length, 0),
    ),
    system_fingerprint: first.policy_id,
    metadata: first.metadata,
  };
}

function streamChat(ports: Ports, draft: PreparedCompletion, body: ChatBody, { tenant }: Caller): Response {
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
    body.logprobs ? { content: toTokenLogprobs(draft.policy.tokenizer, [event]), refusal: null } : null;
  const decoding = startDecoding(ports, [draft], { tenant, signal: abort.signal });
  const sent = draft.ids.map(() => 0);
  return streamEvents(abort, async (send) => {
    for (const [index, generation_id] of draft.ids.entries()) {
      const delta = { role: 'assistant', content: '', refusal: null };
      send(chunk([{ index, generation_id, delta, logprobs: null, finish_reason: null }]));
    }
    // Committed before the last byte: the id in the stream can be voted on as soon as the client has read it all.
    const [run] = await decodeAndStore(ports, decoding, (event) => {
      const { index, text } = event;
      sent[index]! += text.length;
      if (text || body.logprobs)
        send(chunk([{ index, delta: { content: text }, logprobs: logprobsOf(event), finish_reason: null }]));
    });
    const { rows } = run!;
    for (const [index, row] of rows.entries()) {
      const held = row.text.slice(sent[index]);
      send(chunk([{ index, delta: held ? { content: held } : {}, logprobs: null, finish_reason: row.finish_reason }]));
    }
    if (body.stream_options?.include_usage) {
      const completion = rows.reduce((sum, row) => sum + row.token_ids.length, 0);
      send(chunk([], { usage: toUsage(draft.promptIds.length, completion) }));
    }
    send('[DONE]');
  });
}
