// The policy that another is compared with. f = log π − log π_ref is the implicit reward of a policy π that was trained with
// the reference π_ref (Rafailov et al., https://arxiv.org/abs/2305.18290). It means something only if both read the same
// tokens, and if both are computed at one precision: otherwise it measures what quantization did.

import { AttuneError } from '../../shared/error.ts';
import { type Manifest, unknownPolicy } from '../../shared/package/manifest.ts';
import { getManifest } from '../../shared/store/registry.ts';
import type { LoadedPolicy } from '../engine/inference.ts';
import type { Ports } from '../ports.ts';

/**
 * Loads the reference `id`, default: the one that the policy was trained with; null if it has none. `field`: the request
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
  validateReference(policy, reference, field);
  return inference.getPolicy(referenceId);
}

function validateReference(policy: Manifest, reference: Manifest, field: string): void {
  if (reference.tokenizer_hash !== policy.tokenizer_hash)
    throw new AttuneError(
      `${field}: policy ${reference.id} has another tokenizer than policy ${policy.id}, so their log-probabilities are ` +
        'not of the same tokens; name a reference with the same tokenizer',
      { param: field, code: 'tokenizer_mismatch' },
    );
  const [own, other] = [policy.serving.precision, reference.serving.precision];
  if (own !== other)
    throw new AttuneError(
      `${field}: policy ${policy.id} is served at ${own} and policy ${reference.id} at ${other}, and the difference of ` +
        'their log-probabilities would include that of the precisions; import one of them again with `attune policies ' +
        `import --precision ${own}\` or \`${other}\``,
      { param: field, code: 'precision_mismatch' },
    );
}
