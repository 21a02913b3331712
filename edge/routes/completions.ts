// POST /v1/completions: continues a text, like OpenAI's legacy operation, which suits base models.

import { z } from '@hono/zod-openapi';
import type { Owner } from '../../shared/access/owner.ts';
import { selectPolicy } from '../canary/select-policy.ts';
import { ACTIVE_ALIAS, type TokenEvent } from '../engine/inference.ts';
import { decodeAndStore, startDecoding } from '../generation/decode.ts';
import type { CompletionRequest, PreparedCompletion } from '../generation/prepare.ts';
import { assertRegenerates, storeImplicitPair } from '../generation/regenerated.ts';
import { toResponseFormat } from '../generation/response-format.ts';
import {
  candidateFields,
  getRanker,
  MAX_CHOICES,
  modelField,
  refineCandidates,
  regeneratedFromField,
  samplingFields,
  streamFields,
  toSampling,
} from '../generation/sampling-fields.ts';
import { type CompletionResult, rankingFields } from '../generation/select-choices.ts';
import {
  type ChunkFormat,
  countCodePoints,
  repeatStream,
  streamChoices,
  toEnvelope,
} from '../generation/stream-choices.ts';
import { sumUsage, usageSchema } from '../generation/usage.ts';
import type { Transaction } from '../http/idempotency.ts';
import { redactedField } from '../http/messages.ts';
import { defineOperation } from '../http/operation.ts';
import { getCaller, getOwner } from '../middleware/auth.ts';
import { openRanker } from '../scoring/ranker.ts';

const tokenIds = z.array(z.number().int().min(0)).min(1);

const completionBody = refineCandidates(
  z.strictObject({
    model: modelField,
    prompt: z
      .union(
        [
          z.string().min(1, 'the prompt is empty; give it some text'),
          tokenIds,
          z.array(z.string().min(1)).min(1).max(MAX_CHOICES),
        ],
        { error: 'give a text, an array of texts, or an array of token ids, none of them empty' },
      )
      .openapi({ description: 'a text, several texts, or token ids' }),
    ...candidateFields,
    ...samplingFields,
    logprobs: z.number().int().min(0).max(5).nullish(),
    ...streamFields,
    store: z.boolean().nullish(),
    regenerated_from: regeneratedFromField,
  }),
);

type CompletionBody = z.output<typeof completionBody>;
type TextCompletion = z.output<typeof textCompletion>;

const textCompletion = z
  .object({
    id: z.string(),
    object: z.literal('text_completion'),
    created: z.number(),
    model: z.string(),
    choices: z.array(
      z.object({
        index: z.number(),
        generation_id: z.string(),
        text: z.string(),
        finish_reason: z.string(),
        logprobs: z.unknown(),
        ...rankingFields,
      }),
    ),
    usage: usageSchema,
    system_fingerprint: z.string(),
    redacted: redactedField,
  })
  .openapi('TextCompletion');

/** OpenAI's default for this operation. */
const DEFAULT_MAX_TOKENS = 16;

export const createCompletion = defineOperation({
  scopes: ['generate'],
  summary: 'Continues a text; with stream: true as server-sent events',
  needsPolicy: 'body',
  idempotent: true,
  body: completionBody,
  response: textCompletion,
  streams: true,
  async handler({ ports, context, commit, body }) {
    const { policy, canaryId } = await selectPolicy(ports, context, body);
    const ranker = await openRanker(ports, policy.id, getRanker(body));
    const requests = toRequests(body, getOwner(context)).map((request) => {
      return { policy, request: { ...request, canaryId }, ranker };
    });
    await assertRegenerates(ports, context, requests, body.regenerated_from);
    const caller = getCaller(context);
    const toResponse = (results: CompletionResult[]) => toTextCompletion(results, body);
    const alsoStore = (transaction: Transaction, results: CompletionResult[]) =>
      storeImplicitPair(transaction, ports, context, results);
    const storage = { ports, commit, alsoStore };
    if (body.stream) return streamChoices(storage, requests, caller, toChunkFormat(body), toResponse);
    const decoding = await startDecoding(ports, requests, caller);
    return (await decodeAndStore(storage, decoding, toResponse)).response;
  },
  replay: (response, body) => (body.stream ? repeatStream(response as TextCompletion, toChunkFormat(body)) : response),
});

function toTextCompletion(results: CompletionResult[], body: CompletionBody): TextCompletion {
  const choices = results.flatMap((result) => toChoices(result, body));
  return {
    ...toEnvelope(results[0]!.completion, 'text_completion'),
    choices: choices.map((choice, index) => ({ ...choice, index })),
    usage: sumUsage(results),
    ...(results.some(({ completion }) => completion.redacted) ? { redacted: true as const } : {}),
  };
}

/** One request per prompt. */
function toRequests(body: CompletionBody, owner: Owner): CompletionRequest[] {
  const { prompt } = body;
  const isTokens = typeof prompt !== 'string' && typeof prompt[0] === 'number';
  const prompts = typeof prompt === 'string' || isTokens ? [prompt] : prompt;
  return prompts.map(
    (item): CompletionRequest => ({
      kind: 'text',
      model: body.model ?? ACTIVE_ALIAS,
      prompt: typeof item === 'string' ? item : '',
      ...(isTokens ? { promptIds: prompt as number[] } : {}),
      n: body.n ?? 1,
      ...(body.best_of == null ? {} : { bestOf: body.best_of }),
      sampling: toSampling(body, body.logprobs ?? 0),
      responseFormat: toResponseFormat(body.response_format),
      defaultMaxTokens: DEFAULT_MAX_TOKENS,
      owner,
      user: body.user ?? null,
      metadata: body.metadata ?? null,
      regeneratedFrom: body.regenerated_from ?? null,
      store: body.store !== false,
    }),
  );
}

function toChoices({ completion, rows, tokens, rankings }: CompletionResult, body: CompletionBody) {
  return rows.map((row, at) => ({
    generation_id: row.id,
    text: row.text,
    finish_reason: row.finish_reason,
    logprobs: toLogprobs(completion, tokens[at]!, body),
    ...rankings?.[at],
  }));
}

/** Log-probabilities in this operation's shape; offsets count code points, as OpenAI's do, from `textOffset`. */
function toLogprobs(
  { policy: { tokenizer } }: PreparedCompletion,
  events: TokenEvent[],
  body: CompletionBody,
  textOffset = 0,
) {
  if (body.logprobs == null) return null;
  const tokens = events.map((event) => tokenizer.decodeToken(event.tokenId));
  let offset = textOffset;
  return {
    tokens,
    token_logprobs: events.map((event) => event.logprob),
    top_logprobs: events.map((event) =>
      Object.fromEntries(event.topLogprobs.map((top) => [tokenizer.decodeToken(top.tokenId), top.logprob])),
    ),
    text_offset: events.map(({ text }, at) => {
      const before = offset;
      offset += countCodePoints(text);
      // An event's text may begin with text held back earlier, or lack the token's own text, which is still held back.
      return text.endsWith(tokens[at]!) ? offset - countCodePoints(tokens[at]!) : before;
    }),
  };
}

function toChunkFormat(body: CompletionBody): ChunkFormat<TextCompletion['choices'][number]> {
  return {
    object: 'text_completion',
    includeUsage: body.stream_options?.include_usage === true,
    hasLogprobs: body.logprobs != null,
    formatToken: (event, completion, textOffset) => ({
      text: event.text,
      finish_reason: null,
      logprobs: toLogprobs(completion, [event], body, textOffset),
    }),
    formatWhole: ({ text, logprobs }) => ({ text, finish_reason: null, logprobs }),
    formatEnd: ({ id, finish_reason }, rest) => ({ generation_id: id, text: rest, finish_reason, logprobs: null }),
  };
}
