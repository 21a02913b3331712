// A reward that scores the responses of a policy: r(x, y), in float32. Its tokens must be the policy's, and its attention,
// which is computed for a whole row at once, must fit into memory.

import { AttuneError, renameParam } from '../../shared/error.ts';
import { getManifest, getReward, toManifest } from '../../shared/store/registry.ts';
import type { LoadedReward } from '../engine/inference.ts';
import type { Ports } from '../ports.ts';

/** Loads the reward. `field`: the request field that names it. */
export async function openReward(
  { db, inference }: Pick<Ports, 'db' | 'inference'>,
  policyId: string,
  field: 'reward' | 'ranker',
  id: string,
): Promise<LoadedReward> {
  const policy = await getManifest(db, policyId);
  try {
    const reward = toManifest(await getReward(db, id));
    if (reward.tokenizer_hash !== policy.tokenizer_hash) throw tokenizerMismatch(field, id, policyId);
    return await inference.getReward(id);
  } catch (error) {
    throw renameParam(error, field);
  }
}

function tokenizerMismatch(field: string, rewardId: string, policyId: string): AttuneError {
  return new AttuneError(
    `${field}: reward ${rewardId} has another tokenizer than policy ${policyId}, whose tokens mean something else to it; ` +
      'name a reward that was trained on a policy with the same tokenizer',
    { param: field, code: 'tokenizer_mismatch' },
  );
}

/** Scores, mask, and probabilities. */
const ATTENTION_COPIES = 3;

/** `length`: the most tokens that prompt and response have together. `field`: what the caller can shorten. */
export function validateRewardLength(length: number, reward: LoadedReward, field: string): void {
  const { id, architecture, kvMemoryBytes } = reward;
  if (length > architecture.contextLength)
    throw new AttuneError(
      `${field}: prompt and response have up to ${length} tokens, and reward ${id} has a context of ` +
        `${architecture.contextLength}; give fewer`,
      { param: field, code: 'context_length_exceeded' },
    );
  const bytesPerSquare = ATTENTION_COPIES * architecture.heads * Float32Array.BYTES_PER_ELEMENT;
  const limit = Math.floor(Math.sqrt(kvMemoryBytes / bytesPerSquare));
  if (length > limit)
    throw new AttuneError(
      `${field}: prompt and response have up to ${length} tokens, and KV_MEMORY of ${kvMemoryBytes} bytes holds the ` +
        `attention of reward ${id} over ${limit}; give fewer, or raise KV_MEMORY`,
      { param: field, code: 'kv_memory_exceeded' },
    );
}
