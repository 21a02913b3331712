// What a round has published: a policy, or a reward of a round that trained one.
import type { RoundRow } from './schedule.ts';

export function getPublished({ method, policy_id: id }: RoundRow): { policy: string | null; reward: string | null } {
  return method === 'reward' ? { policy: null, reward: id } : { policy: id, reward: null };
}
