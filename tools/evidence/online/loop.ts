// One run of the whole loop in memory: the policy answers prompts twice, simulated raters vote, a round trains on the
// pairs with the trainer's own code, and the next round starts from its result. No gate: where every round is kept, its
// verdicts can be compared with what is true (gate-power.ts).
import { mulberry32, shuffle } from '../../../shared/random.ts';
import { sampleReplay } from '../../../trainer/data/replay.ts';
import type { Engine, PairOutcome, TrainPair } from '../../../trainer/engine/engine.ts';
import { openEngine } from '../../../trainer/engine/open-engine.ts';
import { mean, sum } from '../../report/statistics.ts';
import { type OnlineRunSpec, toObjective } from './config.ts';
import { measurePolicy, type PolicyMeasurement, scoreLogRatios } from './measurement.ts';
import { type RatedPair, rateSides, type SampledSides, sampleSides } from './rating.ts';
import { standardizeTaste } from './tastes.ts';
import { trainRound } from './train-round.ts';
import { addReference, addSamplerLogps, distillPairs, type SampledPair, weighPairs } from './training-pairs.ts';
import { orderPrompts, type World } from './world.ts';

/** A held-out pair before and after a round: what any statistic of a gate may use. */
export type HeldOutOutcome = {
  prompt: number;
  lengths: [chosen: number, rejected: number];
  parent: Omit<PairOutcome, 'chosenLogRatio' | 'rejectedLogRatio'>;
  candidate: Omit<PairOutcome, 'chosenLogRatio' | 'rejectedLogRatio'>;
};

export type OnlineRound = PolicyMeasurement & {
  pairs: number;
  steps: number;
  seconds: number;
  /** Change of the held-out log-probabilities since the parent, nats per response; null if every held-out pair is a tie. */
  chosenChange: number | null;
  rejectedChange: number | null;
  /** Mean margin of log-ratios to the root on the held-out pairs of each round so far, this one included, in nats. */
  earlierMargins: (number | null)[];
  heldOut: HeldOutOutcome[];
};

export type OnlineRun = { spec: OnlineRunSpec; root: PolicyMeasurement; rounds: OnlineRound[] };

export async function runLoop(world: World, spec: OnlineRunSpec): Promise<OnlineRun> {
  const { sizes, prompts, architecture, threads } = world.shared;
  const rootTexts = world.rootSamples.map((sample) => world.decode(sample));
  const taste = standardizeTaste(spec.taste, rootTexts);
  const root = await measurePolicy(world, world.root, taste, world.rootSamples);
  // Held-out prompts are the same in every round, as they are in the product; training prompts are new ones.
  const order = orderPrompts(world, spec.seed);
  const heldOutPrompts = order.slice(0, sizes.heldOutPrompts);
  const run: OnlineRun = { spec, root, rounds: [] };
  const learned: SampledPair[][] = [];
  const earlier: TrainPair[][] = [];
  let { weights } = world.shared;
  for (let round = 0; round < spec.rounds; round++) {
    const startedAt = performance.now();
    const first = sizes.heldOutPrompts + round * sizes.trainPrompts;
    const trainPrompts = order.slice(first, first + sizes.trainPrompts);
    const seed = 1000 * spec.seed + round;
    const sampled = {
      train: await sampleSides(world, weights, trainPrompts, 10 * seed),
      heldOut: await sampleSides(world, weights, heldOutPrompts, 10 * seed + 5),
    };
    const engine = await openEngine({ architecture, weights: new Map(weights), objective: toObjective(spec), threads });
    try {
      const selected = await selectSides(spec, world, engine, sampled.train, seed);
      const { votes, raters = 1 } = spec;
      const rated = {
        train: rateSides(world, selected, taste, { votes, raters }, 10 * seed),
        heldOut: rateSides(world, sampled.heldOut, taste, { votes: 'taste', raters: 1 }, 10 * seed + 5),
      };
      const fresh = await addSamplerLogps(engine, rated.train);
      const replayed = sampleReplay(learned, Math.round(spec.replay * fresh.length), seed);
      const reference = spec.reference === 'root' ? world.root : engine;
      const pairs = [...fresh, ...replayed];
      const rewards = { train: [...learned.flat(), ...fresh], heldOut: rated.heldOut };
      const { train, heldOut } =
        spec.objective === 'distill'
          ? await distillPairs(world, spec, seed, rewards, selected)
          : {
              train: weighPairs(spec, pairs, await addReference(reference, pairs)),
              heldOut: await addReference(reference, rated.heldOut),
            };
      const parent = (await engine.evaluate(heldOut)).outcomes;
      const { steps } = await trainRound(world, engine, spec, seed, { train, heldOut });
      const candidate = (await engine.evaluate(heldOut)).outcomes;
      // Log-ratios to the root, whatever the reference of the round is.
      earlier.push(spec.reference === 'root' ? heldOut : await addReference(world.root, rated.heldOut));
      const earlierMargins: (number | null)[] = [];
      for (const pairs of earlier) earlierMargins.push(pairs.length > 0 ? await measureMargin(engine, pairs) : null);
      weights = await engine.weights();
      const samples = await world.sample(weights, prompts.evaluation, 2 * seed + 1);
      const measured = await measurePolicy(world, engine, taste, samples);
      const change = (side: 'chosenLogp' | 'rejectedLogp') =>
        candidate.length > 0 ? mean(candidate.map((pair, i) => pair[side] - parent[i]![side])) : null;
      run.rounds.push({
        ...measured,
        pairs: train.length,
        steps,
        seconds: (performance.now() - startedAt) / 1000,
        chosenChange: change('chosenLogp'),
        rejectedChange: change('rejectedLogp'),
        earlierMargins,
        heldOut: rated.heldOut.map((pair, i) => toOutcome(pair, parent[i]!, candidate[i]!)),
      });
      learned.push(fresh);
    } finally {
      await engine.close();
    }
  }
  return run;
}

/**
 * With a selection, half of the comparisons are shown to raters: those whose margin of log-ratios to the root is the
 * smallest, where the policy is unsure what raters like, or the largest, or a random half.
 */
async function selectSides(
  { selection }: OnlineRunSpec,
  world: World,
  policy: Engine,
  sampled: SampledSides[],
  seed: number,
): Promise<SampledSides[]> {
  if (!selection) return sampled;
  const half = Math.ceil(sampled.length / 2);
  if (selection === 'random') return shuffle(sampled, mulberry32(seed)).slice(0, half);
  const logRatios = await scoreLogRatios(
    policy,
    world.root,
    sampled.flatMap(({ sides }) => sides),
  );
  const sign = selection === 'uncertain' ? 1 : -1;
  return sampled
    .map((comparison, i) => ({ comparison, order: sign * Math.abs(logRatios[2 * i]! - logRatios[2 * i + 1]!) }))
    .sort((a, b) => a.order - b.order)
    .slice(0, half)
    .map(({ comparison }) => comparison);
}

/** `pairs` have the root's log-probabilities. */
async function measureMargin(policy: Engine, pairs: TrainPair[]): Promise<number> {
  const logps = await policy.score(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]));
  return mean(
    pairs.map(
      ({ refChosenLogps, refRejectedLogps }, i) =>
        sum(logps[2 * i]!) - sum(refChosenLogps) - (sum(logps[2 * i + 1]!) - sum(refRejectedLogps)),
    ),
  );
}

function toOutcome(
  { chosen, rejected, prompt }: RatedPair,
  parent: PairOutcome,
  candidate: PairOutcome,
): HeldOutOutcome {
  const pick = ({ loss, chosenLogp, rejectedLogp }: PairOutcome) => ({ loss, chosenLogp, rejectedLogp });
  return {
    prompt,
    lengths: [chosen.responseIds.length, rejected.responseIds.length],
    parent: pick(parent),
    candidate: pick(candidate),
  };
}
