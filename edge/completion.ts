// From a prompt to committed generations: resolves the policy, makes ids and seeds, decodes, stores, and only then
// reports done. Chat, text completions and comparisons all go through here; none of them touches the decoder itself.

import { generations, type Prompt } from '../shared/database/schema.ts';
import type { Sampling } from '../shared/decoder/sampling.ts';
import { AttuneError } from '../shared/error.ts';
import { newId } from '../shared/id.ts';
import type { FinishEvent, GenerationEvent, LoadedPolicy, TokenEvent } from './generation/inference.ts';
import type { Transaction } from './idempotency.ts';
import type { Ports } from './ports.ts';

export type CompletionRequest = {
  kind: 'chat' | 'text';
  prompt: Prompt;
  /** token ids given instead of text */
  promptIds?: number[];
  n: number;
  sampling: Omit<Sampling, 'maxTokens' | 'seed'> & { maxTokens: number | null; seed: number | null };
  user: string | null;
  metadata: Record<string, string> | null;
  store: boolean;
};

export type Draft = {
  id: string;
  created: number;
  policy: LoadedPolicy;
  promptIds: number[];
  ids: string[];
  sampling: Sampling;
};
export type GenerationRow = typeof generations.$inferInsert;
export type Completed = { rows: GenerationRow[]; tokens: TokenEvent[][]; cancelled: boolean };

/** Checks the request against the policy and fixes its ids and seed; nothing is computed or stored yet. */
export async function draftCompletion(policy: LoadedPolicy, request: CompletionRequest): Promise<Draft> {
  const promptIds = request.promptIds ?? encodePrompt(policy, request.prompt);
  const room = policy.architecture.contextLength - promptIds.length;
  const where = request.kind === 'chat' ? 'messages' : 'prompt';
  if (promptIds.length === 0)
    throw new AttuneError(`${where}: the prompt is empty; give it some text`, { param: where, code: 'empty_prompt' });
  if (room < 1)
    throw new AttuneError(
      `${where}: the prompt has ${promptIds.length} tokens and this policy's context holds ${policy.architecture.contextLength}; shorten it`,
      { param: where, code: 'context_length_exceeded' },
    );
  const wrong = promptIds.find((id) => id >= policy.architecture.vocabSize);
  if (wrong !== undefined)
    throw new AttuneError(`${where}: token ${wrong} is outside the vocabulary of ${policy.architecture.vocabSize}`, {
      param: where,
    });
  const ids = Array.from({ length: request.n }, () => newId(request.kind === 'chat' ? 'chatcmpl-' : 'cmpl-'));
  return {
    id: ids[0]!,
    created: Math.floor(Date.now() / 1000),
    policy,
    promptIds,
    ids,
    sampling: {
      ...request.sampling,
      maxTokens: Math.min(request.sampling.maxTokens ?? room, room),
      seed: request.sampling.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
    },
  };
}

export function encodePrompt(policy: LoadedPolicy, prompt: Prompt): number[] {
  if (typeof prompt === 'string') return policy.tokenizer.encode(prompt);
  return policy.tokenizer.encode(policy.tokenizer.renderChat(prompt, { addGenerationPrompt: true }));
}

/** Takes the request into the queue, or throws where it is full: before a stream's first byte, so with its status. */
export function startDecoding(
  { policy, promptIds, sampling, ids }: Draft,
  signal: AbortSignal,
): AsyncIterable<GenerationEvent> {
  return policy.generate({ promptIds, sampling, n: ids.length }, signal);
}

/**
 * Follows every choice to its end. A cancelled request returns what was produced until then. Postgres cannot hold NUL in a text, so
 * what is shown and what is stored both have U+FFFD in its place; the token ids tell.
 */
export async function runCompletion(
  draft: Draft,
  request: CompletionRequest,
  events: AsyncIterable<GenerationEvent>,
  onToken: (event: TokenEvent) => void = () => {},
): Promise<Completed> {
  const finished = new Map<number, FinishEvent>();
  const tokens: TokenEvent[][] = draft.ids.map(() => []);
  for await (const event of events) {
    const visible = { ...event, text: event.text.replaceAll('\0', '\uFFFD') };
    if (visible.type === 'finish') finished.set(visible.index, visible);
    else {
      tokens[visible.index]!.push(visible);
      onToken(visible);
    }
  }
  const rows = draft.ids.map((id, choice): GenerationRow => {
    const finish = finished.get(choice);
    if (!finish) throw new Error(`internal: choice ${choice} of ${draft.id} never finished`);
    return {
      id,
      completion_id: draft.id,
      choice,
      kind: request.kind,
      policy_id: draft.policy.id,
      prompt: request.promptIds
        ? draft.policy.tokenizer.decode(draft.promptIds).replaceAll('\0', '\uFFFD')
        : request.prompt,
      prompt_token_ids: draft.promptIds,
      text: finish.text,
      token_ids: finish.tokenIds,
      logps: finish.logprobs,
      stop_token: finish.stopToken,
      sampling: { ...draft.sampling },
      seed: draft.sampling.seed,
      finish_reason: finish.finish,
      user: request.user,
      metadata: request.metadata,
      created_at: new Date(draft.created * 1000),
    };
  });
  return { rows, tokens, cancelled: [...finished.values()].some((finish) => finish.finish === 'cancelled') };
}

/** Commits the generations. The caller answers only after this. */
export async function storeGenerations(db: Ports['db'] | Transaction, rows: GenerationRow[]): Promise<void> {
  if (rows.length > 0) await db.insert(generations).values(rows);
}
