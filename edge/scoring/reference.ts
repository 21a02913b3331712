// The policy that another is compared with, by default the root of its line. f = log π − log π_ref is the implicit reward of
// a policy π that was trained with the reference π_ref (Rafailov et al., https://arxiv.org/abs/2305.18290). Both must read
// the same tokens, and both are computed at float32: at 8 bits the rounding of each is as large as what a round changes
// (docs/LOG.md).

import { AttuneError } from '../../shared/error.ts';
import { unknownPolicy } from '../../shared/package/manifest.ts';
import { getManifest } from '../../shared/store/registry.ts';
import type { LoadedPolicy } from '../engine/inference.ts';
import type { Ports } from '../ports.ts';

/**
 * Loads the reference `id`, default: the root of the policy's line; null for a root. `field`: the request
 * field that errors name.
 */
export async function openReference(
  { db, inference }: Pick<Ports, 'db' | 'inference'>,
  policyId: string,
  field: 'reference' | 'ranker',
  id?: string,
): Promise<LoadedPolicy | null> {
  const policy = await getManifest(db, policyId);
  const referenceId = id ?? policy.reference;
  if (referenceId === null) return null;
  const reference = await getManifest(db, referenceId).catch((error: unknown) => {
    throw error instanceof AttuneError && error.status === 404 ? unknownPolicy(referenceId, field) : error;
  });
  if (reference.tokenizer_hash !== policy.tokenizer_hash)
    throw new AttuneError(
      `${field}: policy ${referenceId} has another tokenizer than policy ${policyId}, so their log-probabilities are not ` +
        'of the same tokens; name a reference with the same tokenizer',
      { param: field, code: 'tokenizer_mismatch' },
    );
  return inference.getScorer(referenceId);
}
