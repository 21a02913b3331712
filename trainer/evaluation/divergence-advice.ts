// What to change after a training that diverged: the settings that its method reads.
import type { RoundMethod } from '../../shared/database/round-types.ts';
import type { RoundSettings } from '../../shared/rounds/settings.ts';

export function adviseOnDivergence(
  method: RoundMethod,
  { objective, reduction }: Pick<RoundSettings, 'objective' | 'reduction'>,
): string {
  if (method === 'reward') return 'lower REWARD_LEARNING_RATE';
  // distill compares whole responses.
  const canUseMean = reduction === 'sum' && objective !== 'distill';
  return canUseMean ? 'lower LEARNING_RATE or use REDUCTION=mean' : 'lower LEARNING_RATE';
}
