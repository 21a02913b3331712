// The two responses of a comparison, by one policy or one each by two, and the row that shows them in a random order.

import type { Owner } from '../../shared/access/owner.ts';
import type { Prompt } from '../../shared/chat-message.ts';
import type { StoredGeneration } from '../../shared/database/generations.ts';
import type { comparisons } from '../../shared/database/schema.ts';
import { newId } from '../../shared/id.ts';
import { ACTIVE_ALIAS } from '../engine/inference.ts';
import { decode, startDecoding } from '../generation/decode.ts';
import type { CompletionRequest, PlacedRequest } from '../generation/prepare.ts';
import { toResponseFormat } from '../generation/response-format.ts';
import { type SamplingFields, toSampling } from '../generation/sampling-fields.ts';
import type { CompletionResult } from '../generation/select-choices.ts';
import type { Caller } from '../middleware/auth.ts';
import type { Ports } from '../ports.ts';

export type ComparisonRow = Omit<typeof comparisons.$inferSelect, 'xid'>;
export type Side = Pick<StoredGeneration, 'id' | 'text' | 'finish_reason' | 'policy_id' | 'redacted'>;

export type SidesRequest = SamplingFields & {
  /** of both sides; default: the active policy */
  model?: string | undefined;
  /** of each side */
  models?: readonly [string, string] | undefined;
  /** how many responses to generate, if there is only one policy; default: 2 */
  count?: 1 | 2;
  owner: Owner;
};

/** The choices of one completion; or one of each of two, in the order of the requested policies. */
export async function generateSides(
  ports: Ports,
  prompt: Prompt,
  { count = 2, owner, ...body }: SidesRequest,
  caller: Caller,
): Promise<CompletionResult[]> {
  const toRequest = (model = ACTIVE_ALIAS, n: number, seed: number | null): CompletionRequest => ({
    kind: 'comparison',
    model,
    prompt,
    n,
    sampling: { ...toSampling(body, 0), seed },
    responseFormat: toResponseFormat(body.response_format),
    owner,
    user: body.user ?? null,
    metadata: body.metadata ?? null,
    store: true,
  });
  const models = body.models ?? [body.model];
  const requests: PlacedRequest[] = [];
  for (const [at, model] of models.entries()) {
    // With one seed, two policies would draw the same random numbers, so each side gets its own seed.
    const request = toRequest(model, body.models ? 1 : count, body.seed == null ? null : body.seed + at);
    requests.push({ policy: await ports.inference.getPolicy(model), request });
  }
  const { results, interruption } = await decode(await startDecoding(ports, requests, caller));
  if (interruption) throw interruption;
  return results;
}

export function toSides(results: CompletionResult[]): Side[] {
  return results.flatMap(({ completion, rows }) =>
    rows.map((row) => ({ ...row, policy_id: completion.policy.id, redacted: completion.redacted !== undefined })),
  );
}

/** `sides`: in the order in which they were made. */
export function createComparisonRow(
  sides: Side[],
  fields: Pick<ComparisonRow, 'prompt' | 'queue_id' | 'metadata'> & Owner,
): ComparisonRow {
  const swapped = isHeads();
  const [a, b] = orderSides(sides, swapped);
  return {
    id: newId('cmp_'),
    ...fields,
    a_generation_id: a.id,
    b_generation_id: b.id,
    swapped,
    erased_at: null,
    created_at: new Date(),
  };
}

/** As a and b. */
export function orderSides<T>(sides: T[], swapped: boolean): readonly [T, T] {
  const [first, second] = sides as [T, T];
  return swapped ? [second, first] : [first, second];
}

export function isHeads(): boolean {
  return crypto.getRandomValues(new Uint8Array(1))[0]! < 128;
}
