// POST /v1/completions: continues a text, as OpenAI's older operation does; the natural one for a base model.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import type { TokenEvent } from '../engine/inference.ts';
import { type CompletionResult, decodeAndStore, startDecoding } from '../generation/decode.ts';
import { type CompletionRequest, type PreparedCompletion, prepareCompletion } from '../generation/prepare.ts';
import { addOperation } from '../http/operation.ts';
import { streamEvents } from '../http/sse.ts';
import { type Caller, getCaller } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';
import { MAX_CHOICES, samplingFields, toSampling, toUsage, usageSchema } from './sampling.ts';

const tokenIds = z.array(z.number().int().min(0)).min(1);

const completionBody = z.strictObject({
  model: z.string().optional(),
  prompt: z
    .union(
      [
        z.string().min(1, 'the prompt is empty; give it some text'),
        tokenIds,
        z.array(z.string().min(1)).min(1).max(MAX_CHOICES),
      ],
      {
        error: 'give a text, an array of texts, or an array of token ids, none of them empty',
      },
    )
    .openapi({ description: 'a text, several texts, or token ids' }),
  n: z.number().int().min(1).max(MAX_CHOICES).nullish(),
  ...samplingFields,
  logprobs: z.number().int().min(0).max(5).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().optional() }).nullish(),
  store: z.boolean().nullish(),
});

type CompletionBody = z.output<typeof completionBody>;

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
      }),
    ),
    usage: usageSchema,
    system_fingerprint: z.string(),
  })
  .openapi('TextCompletion');

/** OpenAI's default for this operation. */
const DEFAULT_MAX_TOKENS = 16;

export function addCompletions(app: OpenAPIHono, ports: Ports): void {
  addOperation(
    app,
    {
      method: 'post',
      path: '/v1/completions',
      tag: 'Generate',
      summary: 'Continues a text; with stream: true as server-sent events',
      body: completionBody,
      response: textCompletion,
    },
    async ({ context, body }) => {
      const policy = await ports.inference.getPolicy(body.model);
      const drafts = toRequests(body).map((request) => prepareCompletion(policy, request));
      const caller = getCaller(context);
      if (body.stream) return streamText(ports, drafts, body, caller);
      const runs = await decodeAndStore(ports, startDecoding(ports, drafts, caller));
      const choices = runs.flatMap((run) => showChoices(run, body));
      return {
        ...envelope(drafts[0]!),
        choices: choices.map((choice, index) => ({ ...choice, index })),
        usage: sumUsage(runs),
      };
    },
  );
}

function toRequests(body: CompletionBody): CompletionRequest[] {
  const { prompt } = body;
  const isTokens = typeof prompt !== 'string' && typeof prompt[0] === 'number';
  const prompts = typeof prompt === 'string' || isTokens ? [prompt] : prompt;
  return prompts.map((one) => ({
    kind: 'text',
    prompt: typeof one === 'string' ? one : '',
    ...(isTokens ? { promptIds: prompt as number[] } : {}),
    n: body.n ?? 1,
    sampling: toSampling(body, body.logprobs ?? 0),
    defaultTokens: DEFAULT_MAX_TOKENS,
    user: body.user ?? null,
    metadata: body.metadata ?? null,
    store: body.store !== false,
  }));
}

const envelope = (draft: PreparedCompletion) => ({
  id: draft.id,
  object: 'text_completion' as const,
  created: draft.created,
  model: draft.policy.id,
  system_fingerprint: draft.policy.id,
});

/** As OpenAI counts them: whole code points. */
const countCharacters = (text: string) => [...text].length;

/** Tokens as this operation shows them; `from` is how many characters of the choice's text came before them. */
function showLogprobs(
  { policy: { tokenizer } }: PreparedCompletion,
  events: TokenEvent[],
  body: CompletionBody,
  from = 0,
) {
  if (body.logprobs == null) return null;
  const tokens = events.map((event) => tokenizer.textOf(event.tokenId));
  let offset = from;
  return {
    tokens,
    token_logprobs: events.map((event) => event.logprob),
    top_logprobs: events.map((event) =>
      Object.fromEntries(event.topLogprobs.map((top) => [tokenizer.textOf(top.tokenId), top.logprob])),
    ),
    text_offset: events.map(({ text }, at) => {
      const before = offset;
      offset += countCharacters(text);
      // A token may bring what was held back before it, and what it is a part of may be held back with it.
      return text.endsWith(tokens[at]!) ? offset - countCharacters(tokens[at]!) : before;
    }),
  };
}

function showChoices({ draft, rows, tokens }: CompletionResult, body: CompletionBody) {
  return rows.map((row, at) => ({
    generation_id: row.id,
    text: row.text,
    finish_reason: row.finish_reason,
    logprobs: showLogprobs(draft, tokens[at]!, body),
  }));
}

function sumUsage(runs: CompletionResult[]) {
  return toUsage(
    runs.reduce((sum, run) => sum + run.draft.promptIds.length, 0),
    runs.flatMap((run) => run.rows).reduce((sum, row) => sum + row.token_ids.length, 0),
  );
}

function streamText(ports: Ports, drafts: PreparedCompletion[], body: CompletionBody, { tenant }: Caller): Response {
  const abort = new AbortController();
  const usage = body.stream_options?.include_usage ? { usage: null } : {};
  const chunk = (choices: unknown[], extra: object = usage) => ({ ...envelope(drafts[0]!), choices, ...extra });
  const decoding = startDecoding(ports, drafts, { tenant, signal: abort.signal });
  return streamEvents(abort, async (send) => {
    const n = body.n ?? 1;
    const sent = drafts.flatMap((draft) => draft.ids.map(() => 0));
    const shown = [...sent];
    const runs = await decodeAndStore(ports, decoding, (event, at) => {
      const index = at * n + event.index;
      if (event.text || body.logprobs != null) {
        const logprobs = showLogprobs(drafts[at]!, [event], body, shown[index]);
        send(chunk([{ index, text: event.text, finish_reason: null, logprobs }]));
      }
      sent[index]! += event.text.length;
      shown[index]! += countCharacters(event.text);
    });
    for (const [index, row] of runs.flatMap((run) => run.rows).entries()) {
      const text = row.text.slice(sent[index]);
      send(chunk([{ index, generation_id: row.id, text, finish_reason: row.finish_reason, logprobs: null }]));
    }
    if (body.stream_options?.include_usage) send(chunk([], { usage: sumUsage(runs) }));
    send('[DONE]');
  });
}
