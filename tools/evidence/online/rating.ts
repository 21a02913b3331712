// Pairs from simulated raters: two responses of the policy to each prompt, and one vote or several on them.
import { seedRandom } from '../../../shared/decoder/random.ts';
import type { Weights } from '../../../shared/model/tensor.ts';
import type { Sequence } from '../../../trainer/engine/engine.ts';
import { type Taste, type Votes, vote } from './tastes.ts';
import type { World } from './world.ts';

export type SampledSides = { prompt: number; sides: [Sequence, Sequence] };
export type RatedPair = { chosen: Sequence; rejected: Sequence; prompt: number; rater: string };

/** Two responses of the policy to each prompt; prompts with two equal ones are left out. */
export async function sampleSides(
  world: World,
  weights: Weights,
  indices: readonly number[],
  seed: number,
): Promise<SampledSides[]> {
  const twice = indices.flatMap((index) => [index, index]);
  const samples = await world.sample(
    weights,
    twice.map((index) => world.shared.prompts.voting[index]!),
    seed,
  );
  return indices.flatMap((prompt, i) => {
    const [a, b] = [samples[2 * i]!, samples[2 * i + 1]!];
    return a.responseIds.join() === b.responseIds.join() ? [] : [{ prompt, sides: [a, b] }];
  });
}

/** One pair for each vote of each rater; ties are left out. */
export function rateSides(
  world: World,
  sampled: readonly SampledSides[],
  taste: Taste,
  { votes, raters }: { votes: Votes; raters: number },
  seed: number,
): RatedPair[] {
  const random = seedRandom(seed, 1_000_000);
  return sampled.flatMap(({ prompt, sides: [a, b] }) => {
    const [utilityA, utilityB] = [taste.utility(world.decode(a)), taste.utility(world.decode(b))];
    return Array.from({ length: raters }, (_, at) => ({
      choice: vote(utilityA, utilityB, votes, random),
      rater: `rater ${at}`,
    })).flatMap(({ choice, rater }) => {
      if (choice === null) return [];
      const [chosen, rejected] = choice === 'a' ? [a, b] : [b, a];
      return [{ chosen, rejected, prompt, rater }];
    });
  });
}
