// POST /v1/chat/completions: generates the next message of a chat, whole or as a stream.

import { z } from '@hono/zod-openapi';
import type { Owner } from '../../shared/access/owner.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { selectPolicy } from '../canary/select-policy.ts';
import { ACTIVE_ALIAS, type TokenEvent } from '../engine/inference.ts';
import { decodeAndStore, startDecoding } from '../generation/decode.ts';
import { offerComparison, storeOffered } from '../generation/offer-comparison.ts';
import type { CompletionRequest } from '../generation/prepare.ts';
import { assertRegenerates, storeImplicitPair } from '../generation/regenerated.ts';
import { toResponseFormat } from '../generation/response-format.ts';
import {
  candidateFields,
  getRanker,
  modelField,
  refineCandidates,
  regeneratedFromField,
  samplingFields,
  streamFields,
  toSampling,
} from '../generation/sampling-fields.ts';
import { type CompletionResult, type Ranking, rankingFields } from '../generation/select-choices.ts';
import { type CompletionRow, type GenerationRow, toCompletionRow } from '../generation/store.ts';
import { type ChunkFormat, repeatStream, streamChoices } from '../generation/stream-choices.ts';
import { sumUsage, toUsage, type Usage, usageSchema } from '../generation/usage.ts';
import type { Transaction } from '../http/idempotency.ts';
import { chatMessages, redactedField } from '../http/messages.ts';
import { defineOperation } from '../http/operation.ts';
import { toUnixSeconds } from '../http/resource.ts';
import { getCaller, getOwner } from '../middleware/auth.ts';
import { openRanker } from '../scoring/ranker.ts';

const { max_tokens, ...sharedFields } = samplingFields;

/** Refused by name: a policy's chat template rarely has them, and what a policy writes as a call differs from one to the next. */
const noTools = z
  .null({
    error: 'tools are not supported; describe the call in a message, and its arguments as response_format: json_schema',
  })
  .optional();
const toolFields = {
  tools: noTools,
  tool_choice: noTools,
  parallel_tool_calls: noTools,
  functions: noTools,
  function_call: noTools,
};

const chatBody = refineCandidates(
  z
    .strictObject({
      model: modelField.openapi({ description: 'the id of a policy; `attune`, the default, is the active policy' }),
      messages: chatMessages,
      ...candidateFields,
      max_tokens,
      max_completion_tokens: max_tokens,
      ...sharedFields,
      logprobs: z.boolean().nullish(),
      top_logprobs: z.number().int().min(0).max(20).nullish(),
      ...toolFields,
      ...streamFields,
      store: z
        .boolean()
        .nullish()
        .openapi({ description: 'false: the completion is not stored, and cannot be voted on' }),
      regenerated_from: regeneratedFromField,
      compare: z.boolean().nullish().openapi({
        description:
          'true: two choices of one policy, and a comparison of them to vote on; false: never, whatever COMPARE_SHARE is',
      }),
    })
    .refine((body) => body.top_logprobs == null || body.logprobs, {
      path: ['top_logprobs'],
      error: 'needs logprobs: true',
    }),
);

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
        ...rankingFields,
      }),
    ),
    usage: usageSchema.optional().openapi({ description: 'absent from a stored completion that is redacted' }),
    system_fingerprint: z.string(),
    comparison: z
      .string()
      .optional()
      .openapi({ description: 'whose sides a and b are the two choices; POST /v1/preferences takes a vote on it' }),
    metadata: z.record(z.string(), z.string()).nullable().optional(),
    redacted: redactedField,
  })
  .openapi('ChatCompletion');

type ChatBody = z.output<typeof chatBody>;
type ChatCompletion = z.output<typeof chatCompletion>;

export const createChatCompletion = defineOperation({
  scopes: ['generate'],
  summary: 'Generates the next message of a chat; with stream: true as server-sent events',
  needsPolicy: 'body',
  idempotent: true,
  body: chatBody,
  response: chatCompletion,
  streams: true,
  async handler({ ports, context, commit, body }) {
    const { policy, canaryId } = await selectPolicy(ports, context, body);
    const ranker = await openRanker(ports, policy.id, getRanker(body));
    const comparison = offerComparison(body, context, ports.settings) ?? undefined;
    const n = comparison === undefined ? (body.n ?? 1) : 2;
    const request = { ...toRequest(body, getOwner(context), n), canaryId };
    const requests = [{ policy, request, ranker }];
    await assertRegenerates(ports, context, requests, body.regenerated_from);
    const caller = getCaller(context);
    const toResponse = ([result]: CompletionResult[]) => {
      const { completion, rows, tokens, rankings } = result!;
      const logprobs = body.logprobs ? tokens.map((events) => toTokenLogprobs(policy.tokenizer, events)) : null;
      const unstored = { logprobs, rankings, usage: sumUsage([result!]), comparison };
      return toChatCompletion(toCompletionRow(completion), rows, unstored);
    };
    const alsoStore = async (transaction: Transaction, results: CompletionResult[]) => {
      if (comparison !== undefined) await storeOffered(transaction, comparison, results);
      return (comparison === undefined ? 0 : 1) + (await storeImplicitPair(transaction, ports, context, results));
    };
    const storage = { ports, commit, alsoStore };
    if (body.stream) return streamChoices(storage, requests, caller, toChunkFormat(body, comparison), toResponse);
    const decoding = await startDecoding(ports, requests, caller);
    return (await decodeAndStore(storage, decoding, toResponse)).response;
  },
  replay: (response, body) => (body.stream ? repeatStream(response as ChatCompletion, toChunkFormat(body)) : response),
});

function toRequest(body: ChatBody, owner: Owner, n: number): CompletionRequest {
  return {
    kind: 'chat',
    model: body.model ?? ACTIVE_ALIAS,
    prompt: body.messages,
    n,
    ...(body.best_of == null ? {} : { bestOf: body.best_of }),
    sampling: toSampling(
      { ...body, max_tokens: body.max_completion_tokens ?? body.max_tokens },
      body.logprobs ? (body.top_logprobs ?? 0) : 0,
    ),
    responseFormat: toResponseFormat(body.response_format),
    ...(body.max_completion_tokens == null ? {} : { maxTokensField: 'max_completion_tokens' }),
    owner,
    user: body.user ?? null,
    metadata: body.metadata ?? null,
    regeneratedFrom: body.regenerated_from ?? null,
    store: body.store !== false,
  };
}

/** What only the response to the request has, and a stored completion does not. */
type Unstored = {
  logprobs: unknown[] | null;
  rankings: Ranking[] | null;
  usage: Usage;
  comparison: string | undefined;
};

/** `rows`, `logprobs` and `rankings` have one entry per choice. */
export function toChatCompletion(
  completion: Required<Omit<CompletionRow, 'xid'>>,
  rows: GenerationRow[],
  { logprobs, rankings, usage, comparison }: Partial<Unstored> = {},
): ChatCompletion {
  return {
    id: completion.id,
    object: 'chat.completion',
    created: toUnixSeconds(completion.created_at),
    model: completion.policy_id,
    choices: rows.map((row, index) => ({
      index: row.choice,
      generation_id: row.id,
      message: { role: 'assistant', content: row.text, refusal: null },
      finish_reason: row.finish_reason,
      logprobs: logprobs ? { content: logprobs[index], refusal: null } : null,
      ...rankings?.[index],
    })),
    usage: usage ?? countStoredTokens(completion, rows),
    system_fingerprint: completion.policy_id,
    ...(comparison === undefined ? {} : { comparison }),
    metadata: completion.metadata,
    ...(completion.redacted ? { redacted: true as const } : {}),
  };
}

/** Undefined if the tokens of a part are not stored, because it was redacted. */
function countStoredTokens(completion: Pick<CompletionRow, 'redacted' | 'prompt_token_ids'>, rows: GenerationRow[]) {
  if (completion.redacted) return undefined;
  return toUsage(
    completion.prompt_token_ids.length,
    rows.reduce((sum, { token_ids }) => sum + token_ids.length, 0),
  );
}

const encoder = new TextEncoder();

/** One entry per token: its text, bytes, log-probability and the most likely alternatives. */
function toTokenLogprobs(tokenizer: Tokenizer, events: TokenEvent[]) {
  const toEntry = (tokenId: number, logprob: number) => {
    const token = tokenizer.decodeToken(tokenId);
    return { token, logprob, bytes: [...encoder.encode(token)] };
  };
  return events.map((event) => ({
    ...toEntry(event.tokenId, event.logprob),
    top_logprobs: event.topLogprobs.map((top) => toEntry(top.tokenId, top.logprob)),
  }));
}

function toChunkFormat(body: ChatBody, comparison?: string): ChunkFormat<ChatCompletion['choices'][number]> {
  return {
    comparison,
    object: 'chat.completion.chunk',
    includeUsage: body.stream_options?.include_usage === true,
    hasLogprobs: body.logprobs === true,
    formatOpening: (generation_id) => ({
      generation_id,
      delta: { role: 'assistant', content: '', refusal: null },
      logprobs: null,
      finish_reason: null,
    }),
    formatToken: (event, { policy }) => ({
      delta: { content: event.text },
      logprobs: body.logprobs ? { content: toTokenLogprobs(policy.tokenizer, [event]), refusal: null } : null,
      finish_reason: null,
    }),
    formatWhole: ({ message, logprobs }) => ({
      delta: { content: message.content },
      logprobs,
      finish_reason: null,
    }),
    formatEnd: ({ finish_reason }, rest) => ({ delta: rest ? { content: rest } : {}, logprobs: null, finish_reason }),
  };
}
