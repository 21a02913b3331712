// POST /v1/completions: continues a text, as OpenAI's older operation does; the natural one for a base model.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { AttuneError } from '../../shared/error.ts';
import {
  type Completed,
  type CompletionRequest,
  type Draft,
  draftCompletion,
  runCompletion,
  startDecoding,
  storeGenerations,
} from '../completion.ts';
import { addOperation } from '../endpoint.ts';
import type { TokenEvent } from '../generation/inference.ts';
import type { Ports } from '../ports.ts';
import { streamEvents } from '../stream.ts';
import { countUsage, MOST_CHOICES, samplingFields, toSampling, usageSchema } from './sampling.ts';

const tokenIds = z.array(z.number().int().min(0)).min(1);

const completionBody = z.strictObject({
  model: z.string().optional(),
  prompt: z
    .union(
      [
        z.string().min(1, 'the prompt is empty; give it some text'),
        tokenIds,
        z.array(z.string().min(1)).min(1).max(MOST_CHOICES),
      ],
      {
        error: 'give a text, an array of texts, or an array of token ids, none of them empty',
      },
    )
    .openapi({ description: 'a text, several texts, or token ids' }),
  n: z.number().int().min(1).max(MOST_CHOICES).nullish(),
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
      const policy = await ports.inference.policy(body.model);
      const requests = toRequests(body);
      const drafts = await Promise.all(requests.map((request) => draftCompletion(policy, request)));
      if (body.stream) return streamText(ports, drafts, requests, body);
      const runs = await Promise.all(
        drafts.map((draft, at) => runCompletion(draft, requests[at]!, startDecoding(draft, context.req.raw.signal))),
      );
      if (body.store !== false)
        await storeGenerations(
          ports.db,
          runs.flatMap((run) => run.rows),
        );
      if (runs.some((run) => run.cancelled))
        throw new AttuneError('the request was cancelled', { status: 499, code: 'cancelled', retry: false });
      const choices = runs.flatMap((run, at) => showChoices(drafts[at]!, run, body));
      return {
        ...envelope(drafts[0]!),
        choices: choices.map((choice, index) => ({ ...choice, index })),
        usage: sumUsage(drafts, runs),
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
    sampling: toSampling({ ...body, max_tokens: body.max_tokens ?? DEFAULT_MAX_TOKENS }, body.logprobs ?? 0),
    user: body.user ?? null,
    metadata: body.metadata ?? null,
    store: body.store !== false,
  }));
}

const envelope = (draft: Draft) => ({
  id: draft.id,
  object: 'text_completion' as const,
  created: draft.created,
  model: draft.policy.id,
  system_fingerprint: draft.policy.id,
});

function showLogprobs(draft: Draft, events: TokenEvent[], body: CompletionBody) {
  if (body.logprobs == null) return null;
  const { tokenizer } = draft.policy;
  return {
    tokens: events.map((event) => tokenizer.textOf(event.tokenId)),
    token_logprobs: events.map((event) => event.logprob),
    top_logprobs: events.map((event) =>
      Object.fromEntries(event.topLogprobs.map((top) => [tokenizer.textOf(top.tokenId), top.logprob])),
    ),
  };
}

function showChoices(draft: Draft, run: Completed, body: CompletionBody) {
  return run.rows.map((row, at) => ({
    generation_id: row.id,
    text: row.text,
    finish_reason: row.finish_reason,
    logprobs: showLogprobs(draft, run.tokens[at]!, body),
  }));
}

function sumUsage(drafts: Draft[], runs: Completed[]) {
  return countUsage(
    drafts.reduce((sum, draft) => sum + draft.promptIds.length, 0),
    runs.flatMap((run) => run.rows).reduce((sum, row) => sum + row.token_ids.length, 0),
  );
}

function streamText(ports: Ports, drafts: Draft[], requests: CompletionRequest[], body: CompletionBody): Response {
  const abort = new AbortController();
  const usage = body.stream_options?.include_usage ? { usage: null } : {};
  const chunk = (choices: unknown[], extra: object = usage) => ({ ...envelope(drafts[0]!), choices, ...extra });
  const decoding = drafts.map((draft) => startDecoding(draft, abort.signal));
  return streamEvents(abort, async (send) => {
    const n = requests[0]!.n;
    const sent = drafts.flatMap((draft) => draft.ids.map(() => 0));
    const runs = await Promise.all(
      drafts.map((draft, at) =>
        runCompletion(draft, requests[at]!, decoding[at]!, (event) => {
          const index = at * n + event.index;
          sent[index]! += event.text.length;
          if (event.text || body.logprobs != null)
            send(
              chunk([{ index, text: event.text, finish_reason: null, logprobs: showLogprobs(draft, [event], body) }]),
            );
        }),
      ),
    );
    const rows = runs.flatMap((run) => run.rows);
    if (body.store !== false) await storeGenerations(ports.db, rows);
    for (const [index, row] of rows.entries()) {
      const text = row.text.slice(sent[index]);
      send(chunk([{ index, generation_id: row.id, text, finish_reason: row.finish_reason, logprobs: null }]));
    }
    if (body.stream_options?.include_usage) send(chunk([], { usage: sumUsage(drafts, runs) }));
    send('[DONE]');
  });
}
