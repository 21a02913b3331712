// The two responses of a comparison: two choices of one policy, or one of each of two, which are a canary's while one runs. Which of
// them is side a is drawn before they are generated, so that they can be streamed.

import type { Owner } from '../../shared/access/owner.ts';
import type { Prompt } from '../../shared/chat-message.ts';
import type { StoredGeneration } from '../../shared/database/generations.ts';
import { comparisons } from '../../shared/database/schema.ts';
import { newId } from '../../shared/id.ts';
import { drawUniform } from '../../shared/random.ts';
import { isActiveAlias } from '../canary/select-policy.ts';
import { ACTIVE_ALIAS } from '../engine/inference.ts';
import { type Decoding, decode, startDecoding } from '../generation/decode.ts';
import { EvenSides, type SideName } from '../generation/even-sides.ts';
import type { CompletionRequest, PlacedRequest } from '../generation/prepare.ts';
import { redactResults } from '../generation/redact-results.ts';
import { toResponseFormat } from '../generation/response-format.ts';
import { type SamplingFields, toSampling } from '../generation/sampling-fields.ts';
import type { CompletionResult } from '../generation/select-choices.ts';
import { storeCompletions } from '../generation/store.ts';
import type { Transaction } from '../http/idempotency.ts';
import type { Caller } from '../middleware/auth.ts';
import type { Ports, RunningCanary } from '../ports.ts';

export type ComparisonRow = Omit<typeof comparisons.$inferSelect, 'xid'>;

/** A response as a comparison shows it. */
export type Side = Pick<StoredGeneration, 'id' | 'text' | 'finish_reason' | 'policy_id' | 'redacted'>;

export type Sides = Record<SideName, Side>;

export type SidesRequest = SamplingFields & {
  prompt: Prompt;
  /** one policy of both sides, or one of each in any order; default: a canary's candidate and the active one, or only that */
  models: readonly [string | undefined] | readonly [string, string];
  /** of one policy: a single response, to go with a given one */
  count?: 1;
  /** if max_tokens is left out: as many, or as many as fit into the context */
  defaultMaxTokens?: number;
  owner: Owner;
};

/** `swapped`: whether what was generated first is shown as b. */
export type SidesDecoding = { id: string; swapped: boolean; decoding: Decoding };

/** Throws before the first byte of a stream if the request is invalid or the queue is full. */
export async function startSides(ports: Ports, request: SidesRequest, caller: Caller): Promise<SidesDecoding> {
  const { seed } = request;
  const canary = await findCanary(ports, request);
  const models = canary ? [ACTIVE_ALIAS, canary.policyId] : request.models;
  const requests: PlacedRequest[] = [];
  for (const [at, model = ACTIVE_ALIAS] of models.entries()) {
    // With one seed, two policies would draw the same random numbers, so each side gets its own seed.
    const own = toRequest(request, canary ? ACTIVE_ALIAS : model, seed == null ? null : seed + at);
    const ofCanary = canary ? { n: 1, canaryId: canary.id } : {};
    requests.push({ policy: await ports.inference.getPolicy(model), request: { ...own, ...ofCanary } });
  }
  // The one that begins first has its first token first, by which a canary's policies are compared.
  if (canary && drawUniform() < 0.5) requests.reverse();
  return { id: newId('cmp_'), swapped: drawUniform() < 0.5, decoding: await startDecoding(ports, requests, caller) };
}

/** Whose policies are compared; a given response is compared with one of the active policy. */
async function findCanary(ports: Ports, { models, count }: SidesRequest): Promise<RunningCanary | null> {
  return models.length === 1 && isActiveAlias(models[0]) && count === undefined ? ports.getCanary() : null;
}

function toRequest(request: SidesRequest, model: string, seed: number | null): CompletionRequest {
  return {
    kind: 'comparison',
    model,
    prompt: request.prompt,
    n: request.models.length === 2 ? 1 : (request.count ?? 2),
    sampling: { ...toSampling(request, 0), seed },
    responseFormat: toResponseFormat(request.response_format),
    owner: request.owner,
    user: request.user ?? null,
    metadata: request.metadata ?? null,
    ...(request.defaultMaxTokens === undefined ? {} : { defaultMaxTokens: request.defaultMaxTokens }),
    store: true,
  };
}

/** Decodes both sides; `send` receives their texts, evenly. Throws what interrupted them. */
export async function decodeSides(
  { decoding, swapped }: SidesDecoding,
  send?: (side: SideName, text: string) => void,
): Promise<CompletionResult[]> {
  const even = new EvenSides(send ?? (() => {}));
  const lengths = { a: 0, b: 0 };
  const { results, interruption } = await decode(decoding, (event, at) => {
    const isFirst = at + event.index === 0;
    const side = isFirst !== swapped ? 'a' : 'b';
    if (event.type === 'finish') even.end(side, event.text.slice(lengths[side]));
    else even.add(side, event.text);
    lengths[side] += event.text.length;
  });
  if (interruption) throw interruption;
  return results;
}

/** What is stored of decoded sides: what REDACT leaves of them, and the comparison's row. `given`: a side that is no result. */
export async function toComparisonRow(
  { redact }: Ports,
  { id, swapped }: SidesDecoding,
  results: CompletionResult[],
  { queueId = null, given }: { queueId?: string | null; given?: Side | undefined } = {},
): Promise<{ row: ComparisonRow; sides: Sides; stored: CompletionResult[] }> {
  const stored = await redactResults(redact, results);
  const sides = orderSides(stored, swapped, given);
  const { request } = stored[0]!.completion;
  const row: ComparisonRow = {
    id,
    prompt: request.prompt,
    a_generation_id: sides.a.id,
    b_generation_id: sides.b.id,
    swapped,
    queue_id: queueId,
    canary_id: request.canaryId ?? null,
    metadata: request.metadata,
    ...request.owner,
    erased_at: null,
    created_at: new Date(),
  };
  return { row, sides, stored };
}

export async function storeComparison(
  transaction: Transaction,
  { row, stored }: { row: ComparisonRow; stored: CompletionResult[] },
): Promise<void> {
  await storeCompletions(transaction, stored);
  await transaction.insert(comparisons).values(row);
}

/** `given`: counts as the one generated first. */
export function orderSides(results: CompletionResult[], swapped: boolean, given?: Side): Sides {
  const generated = results.flatMap(({ completion, rows }): Side[] =>
    rows.map((row) => ({ ...row, policy_id: completion.policy.id, redacted: completion.redacted !== undefined })),
  );
  const [first, second] = (given ? [given, ...generated] : generated) as [Side, Side];
  return swapped ? { a: second, b: first } : { a: first, b: second };
}
