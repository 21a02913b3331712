// The policy that another is compared with, by default the root of its line. f = log π − log π_ref is the implicit reward of
// a policy π that was trained with the reference π_ref (Rafailov et al., https://arxiv.org/abs/2305.18290). Both must read
// the same tokens, and both are computed at float32: at 8 bits the rounding of each is as large as what a round changes
// (docs/LOG.md).

import { AttuneError, renameParam } from '../../shared/error.ts';
import { getPolicy, toManifest } from '../../shared/store/registry.ts';
import { ACTIVE_ALIAS, type LoadedPolicy } from '../engine/inference.ts';
import type { Ports } from '../ports.ts';

/**
 * Loads the reference `id`, default: the root of the policy's line. Null for a root, or if `id` is null. `field`: the
 * request field that errors name.
 */
export async function openReference(
  { db, inference }: Pick<Ports, 'db' | 'inference'>,
  policyId: string,
  field: 'reference' | 'ranker',
  id?: string | null,
): Promise<LoadedPolicy | null> {
  const policy = toManifest(await getPolicy(db, policyId));
  const named = id === undefined ? policy.reference : id;
  if (named === null) return null;
  try {
    const referenceId = named === ACTIVE_ALIAS ? (await inference.getPolicy()).id : named;
    const reference = toManifest(await getPolicy(db, referenceId));
    if (reference.tokenizer_hash !== policy.tokenizer_hash) throw tokenizerMismatch(field, referenceId, policyId);
    return await inference.getScorer(referenceId);
  } catch (error) {
    throw renameParam(error, field);
  }
}

function tokenizerMismatch(field: string, referenceId: string, policyId: string): AttuneError {
  return new AttuneError(
    `${field}: policy ${referenceId} has another tokenizer than policy ${policyId}, so their log-probabilities are not ` +
      'of the same tokens; name a reference with the same tokenizer',
    { param: field, code: 'tokenizer_mismatch' },
  );
}
