// A reward from a policy: its body with a scalar head in place of the output layer. The head starts at 0, so that every
// response starts with the same reward and no random number decides how training begins.
import { REWARD_HEAD } from '../../shared/model/architecture.ts';
import type { Checkpoint } from '../../shared/model/checkpoint.ts';

/** The body's tensors are shared, not copied. */
export function addRewardHead({ architecture, weights }: Checkpoint): Checkpoint {
  const body = Array.from(weights).filter(([name]) => name !== 'lm_head.weight');
  const head = { shape: [1, architecture.hiddenSize], data: new Float32Array(architecture.hiddenSize) };
  return { architecture: { ...architecture, output: 'reward' }, weights: new Map([...body, [REWARD_HEAD, head]]) };
}
