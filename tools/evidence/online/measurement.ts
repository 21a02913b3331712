// A policy measured by its own responses to prompts that nobody voted on, without the raters' noise.
import type { Engine, Sequence } from '../../../trainer/engine/engine.ts';
import { mean, sum } from '../../report/statistics.ts';
import { responseKl } from '../kl.ts';
import type { Taste } from './tastes.ts';
import type { World } from './world.ts';

/** A policy by its own responses to the evaluation prompts. */
export type PolicyMeasurement = {
  /** The standardized utility of each response. */
  utilities: number[];
  /** Share of prompts whose response is better than the root's; a tie counts as half. */
  winRate: number;
  /** KL(policy ‖ root), nats per response. */
  kl: number;
  meanLength: number;
};

export async function measurePolicy(
  world: World,
  policy: Engine,
  taste: Taste,
  samples: Sequence[],
): Promise<PolicyMeasurement> {
  const utilities = samples.map((sample) => taste.utility(world.decode(sample)));
  const rootUtilities = world.rootSamples.map((sample) => taste.utility(world.decode(sample)));
  const [logps, rootLogps] = [await policy.score(samples), await world.root.score(samples)];
  return {
    utilities,
    winRate: compareUtilities(utilities, rootUtilities),
    kl: mean(logps.map((tokens, i) => responseKl(tokens, rootLogps[i]!))),
    meanLength: mean(samples.map(({ responseIds }) => responseIds.length)),
  };
}

/** The share of prompts at which the first utility is larger; a tie counts as half. */
export function compareUtilities(utilities: readonly number[], others: readonly number[]): number {
  return mean(utilities.map((utility, i) => (1 + Math.sign(utility - others[i]!)) / 2));
}

/** log π/π_root of each whole response, in nats. */
export async function scoreLogRatios(policy: Engine, root: Engine, sequences: Sequence[]): Promise<number[]> {
  const [logps, rootLogps] = [await policy.score(sequences), await root.score(sequences)];
  return logps.map((tokens, i) => sum(tokens) - sum(rootLogps[i]!));
}
