// From a request to a prepared completion: the prompt as tokens, validated against the policy, with its ids and seed.
// Chat completions, completions and comparisons all start here; decode.ts runs the result.

import type { Owner } from '../../shared/access/owner.ts';
import type { Prompt } from '../../shared/chat-message.ts';
import type { SamplingParams } from '../../shared/decoder/sampling.ts';
import { AttuneError } from '../../shared/error.ts';
import { newId } from '../../shared/id.ts';
import { drawSeed } from '../../shared/random.ts';
import type { EncodedPrompt, LoadedPolicy, Waiter } from '../engine/inference.ts';
import { validateCandidates } from '../engine/validate-candidates.ts';
import { getPromptField, validateCharacters, validatePrompt, validateVocabulary } from '../engine/validate-prompt.ts';
import type { Grammar } from '../grammar/program.ts';
import type { Ranker } from '../scoring/ranker.ts';
import { getSchema, type ResponseFormat } from './response-format.ts';

export type CompletionRequest = {
  /** the operation that asks for it */
  kind: 'chat' | 'text' | 'comparison';
  /** as requested: a policy's id, or the alias of the active one */
  model: string;
  prompt: Prompt;
  /** token ids given instead of text */
  promptIds?: number[];
  n: number;
  /** How many candidates are sampled, of which the ranker selects n; default: n. */
  bestOf?: number;
  /** maxTokens null: defaultMaxTokens if set, otherwise as many as fit into the context */
  sampling: Omit<SamplingParams, 'maxTokens' | 'seed'> & { maxTokens: number | null; seed: number | null };
  /** what the text has to be; null: anything */
  responseFormat: ResponseFormat | null;
  defaultMaxTokens?: number;
  /** the request field that maxTokens comes from; default: max_tokens */
  maxTokensField?: string;
  owner: Owner;
  user: string | null;
  metadata: Record<string, string> | null;
  /** the canary by which its policy was selected */
  canaryId?: string | null;
  /** the generation that this one takes the place of */
  regeneratedFrom?: string | null;
  store: boolean;
};

/** A request, the policy that generates for it, and what selects its choices if not all candidates are returned. */
export type PlacedRequest = { policy: LoadedPolicy; request: CompletionRequest; ranker?: Ranker | null };

export type PreparedCompletion = {
  id: string;
  /** Unix seconds */
  created: number;
  request: CompletionRequest;
  policy: LoadedPolicy;
  ranker: Ranker | null;
  promptIds: number[];
  /** length in tokens of the prefix that other prompts probably share */
  sharedLengths: number[];
  /** one id per choice; the first is the completion's own */
  ids: string[];
  /** how many are sampled: as many as choices, or best_of */
  candidates: number;
  sampling: SamplingParams;
  /** of the response format */
  grammar: Grammar | null;
  /** of a copy to be stored in which something was redacted: whether the prompt was */
  redacted?: { prompt: boolean };
};

/** Validates the request against the policy and fixes its ids and seed; nothing is computed or stored yet. */
export async function prepareCompletion(
  { policy, request, ranker = null }: PlacedRequest,
  waiter: Waiter,
): Promise<PreparedCompletion> {
  const { prompt, sampling } = request;
  validateVocabulary(Object.keys(sampling.logitBias).map(Number), policy.architecture.vocabSize, 'logit_bias');
  const grammar = request.responseFormat && (await compileFormat(policy, request.responseFormat, waiter));
  const { promptIds, sharedLengths } = await encodePrompt(policy, request, waiter);
  const remaining = validatePrompt(promptIds, policy, getPromptField(prompt));
  const maxTokens = sampling.maxTokens ?? Math.min(request.defaultMaxTokens ?? remaining, remaining);
  if (maxTokens > remaining) throw tooManyTokens(request, remaining, promptIds.length);
  const candidates = request.bestOf ?? request.n;
  if (ranker) {
    const fields = {
      count: request.bestOf === undefined ? ('n' as const) : ('best_of' as const),
      maxTokens: getMaxTokensField(request),
    };
    const lengths = { count: candidates, promptLength: promptIds.length, maxTokens, fields };
    validateCandidates(lengths, policy);
    ranker.validate(lengths);
  }
  const ids = Array.from({ length: request.n }, () => newId(typeof prompt === 'string' ? 'cmpl-' : 'chatcmpl-'));
  return {
    id: ids[0]!,
    created: Math.floor(Date.now() / 1000),
    request,
    policy,
    ranker,
    promptIds,
    sharedLengths,
    ids,
    candidates,
    grammar,
    sampling: {
      ...sampling,
      maxTokens,
      seed: sampling.seed ?? drawSeed(),
    },
  };
}

async function compileFormat(policy: LoadedPolicy, format: ResponseFormat, waiter: Waiter): Promise<Grammar> {
  // Throws if it is not known what the policy's tokens spell.
  policy.tokenizer.listTokenBytes();
  return policy.compileSchema(...getSchema(format), waiter);
}

async function encodePrompt(
  policy: LoadedPolicy,
  { prompt, promptIds }: CompletionRequest,
  waiter: Waiter,
): Promise<EncodedPrompt> {
  if (promptIds) return { promptIds, sharedLengths: [] };
  validateCharacters(prompt, policy);
  return policy.encodePrompt(prompt, waiter);
}

function getMaxTokensField({ maxTokensField }: CompletionRequest): string {
  return maxTokensField ?? 'max_tokens';
}

function tooManyTokens(request: CompletionRequest, remaining: number, promptLength: number): AttuneError {
  const param = getMaxTokensField(request);
  return new AttuneError(
    `${param}: ${request.sampling.maxTokens} exceeds the ${remaining} tokens that the prompt of ${promptLength} leaves in ` +
      `the context; give ${remaining} or less, or omit it`,
    { param, code: 'context_length_exceeded' },
  );
}
