// The reward that a distillation distils.
import type { Database } from '../../shared/database/connect.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { readManifest } from '../../shared/package/files.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';
import type { LocalStore } from '../../shared/store/local-store.ts';
import { getReward } from '../../shared/store/registry.ts';
import type { Selection } from './selection.ts';

export type DistilledReward = { id: string; folder: string; architecture: Architecture };

/** Throws AttuneError if there is no such reward, or it has another tokenizer. */
export async function findReward(
  store: LocalStore,
  db: Database,
  { tokenizerHash, parent }: Selection,
  config: RoundSettings,
): Promise<DistilledReward> {
  if (config.reward === null)
    throw new AttuneError('distill: REWARD is not set; set it to the id of a reward (GET /v1/rewards lists them)', {
      param: 'reward',
      code: 'reward_missing',
    });
  const { id } = await getReward(db, config.reward);
  const folder = await store.getFolder(id);
  const { tokenizer_hash, architecture } = await readManifest(folder);
  if (tokenizer_hash !== tokenizerHash)
    throw new AttuneError(
      `the reward ${id} has another tokenizer than ${parent.id}, which the round starts from; train a reward from that policy`,
      { param: 'reward', code: 'tokenizer_mismatch' },
    );
  return { id, folder, architecture };
}
