// One run of the whole loop in memory: the policy answers prompts twice, simulated raters vote, a round trains on the
// pairs with the trainer's own code, and the next round starts from its result. No gate: where every round is kept, its
// verdicts can be compared with what is true (gate-power.ts).
import path from 'node:path';
import { seedRandom } from '../../../shared/decoder/random.ts';
import type { Weights } from '../../../shared/model/safetensors.ts';
import { mulberry32, shuffle } from '../../../shared/random.ts';
import { completeRoundSettings } from '../../../shared/rounds/settings.ts';
import { readSettings } from '../../../shared/settings.ts';
import type { Engine, PairOutcome, Sequence, TrainPair } from '../../../trainer/engine/engine.ts';
import { openEngine } from '../../../trainer/engine/open-engine.ts';
import { weightPairs } from '../../../trainer/stages/importance.ts';
import { trainPolicy } from '../../../trainer/training.ts';
import { mean, sum } from '../../report/statistics.ts';
import { type OnlineRunSpec, toObjective } from './config.ts';
import { standardizeTaste, type Taste, type Votes, vote } from './tastes.ts';
import type { World } from './world.ts';

/** A held-out pair before and after a round: what any statistic of a gate may use. */
export type HeldOutOutcome = {
  prompt: number;
  lengths: [chosen: number, rejected: number];
  parent: Omit<PairOutcome, 'chosenLogRatio' | 'rejectedLogRatio'>;
  candidate: Omit<PairOutcome, 'chosenLogRatio' | 'rejectedLogRatio'>;
};

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

export type OnlineRound = PolicyMeasurement & {
  pairs: number;
  steps: number;
  seconds: number;
  /** Change of the held-out log-probabilities since the parent, nats per response. */
  chosenChange: number;
  rejectedChange: number;
  heldOut: HeldOutOutcome[];
};

export type OnlineRun = { spec: OnlineRunSpec; root: PolicyMeasurement; rounds: OnlineRound[] };

type RatedPair = { chosen: Sequence; rejected: Sequence; prompt: number };
type SampledPair = RatedPair & { samplerLogps: { chosen: Float32Array; rejected: Float32Array } };

export async function runLoop(world: World, spec: OnlineRunSpec): Promise<OnlineRun> {
  const { sizes, prompts, architecture, threads } = world.shared;
  const rootTexts = world.rootSamples.map((sample) => world.decode(sample));
  const taste = standardizeTaste(spec.taste, rootTexts);
  const root = await measurePolicy(world, world.root, taste, world.rootSamples);
  // Held-out prompts are the same in every round, as they are in the product; training prompts are new ones.
  const order = shuffle([...prompts.voting.keys()], mulberry32(spec.seed));
  const heldOutPrompts = order.slice(0, sizes.heldOutPrompts);
  const run: OnlineRun = { spec, root, rounds: [] };
  const learned: SampledPair[] = [];
  let { weights } = world.shared;
  for (let round = 0; round < spec.rounds; round++) {
    const startedAt = performance.now();
    const first = sizes.heldOutPrompts + round * sizes.trainPrompts;
    const trainPrompts = order.slice(first, first + sizes.trainPrompts);
    const seed = 1000 * spec.seed + round;
    const rate = (indices: number[], votes: Votes, stream: number) =>
      ratePairs(world, weights, taste, indices, votes, 10 * seed + stream);
    const rated = { train: await rate(trainPrompts, spec.votes, 0), heldOut: await rate(heldOutPrompts, 'taste', 5) };
    const engine = await openEngine({ architecture, weights: new Map(weights), objective: toObjective(spec), threads });
    try {
      const fresh = await addSamplerLogps(engine, rated.train);
      const replayed = shuffle(learned, mulberry32(seed)).slice(0, Math.round(spec.replay * fresh.length));
      const reference = spec.reference === 'root' ? world.root : engine;
      const train = weigh(spec, [...fresh, ...replayed], await addReference(reference, [...fresh, ...replayed]));
      const heldOut = await addReference(reference, rated.heldOut);
      const parent = (await engine.evaluate(heldOut)).outcomes;
      const { steps } = await trainRound(world, engine, spec, seed, train, heldOut);
      const candidate = (await engine.evaluate(heldOut)).outcomes;
      weights = await engine.weights();
      const samples = await world.sample(weights, prompts.evaluation, 2 * seed + 1);
      const measured = await measurePolicy(world, engine, taste, samples);
      const change = (side: 'chosenLogp' | 'rejectedLogp') =>
        mean(candidate.map((pair, i) => pair[side] - parent[i]![side]));
      run.rounds.push({
        ...measured,
        pairs: train.length,
        steps,
        seconds: (performance.now() - startedAt) / 1000,
        chosenChange: change('chosenLogp'),
        rejectedChange: change('rejectedLogp'),
        heldOut: rated.heldOut.map((pair, i) => toOutcome(pair, parent[i]!, candidate[i]!)),
      });
      learned.push(...fresh);
    } finally {
      await engine.close();
    }
  }
  return run;
}

/** Two responses of the policy to each prompt, and a vote; ties and equal responses are left out. */
async function ratePairs(
  world: World,
  weights: Weights,
  taste: Taste,
  indices: number[],
  votes: Votes,
  seed: number,
): Promise<RatedPair[]> {
  const twice = indices.flatMap((index) => [index, index]);
  const samples = await world.sample(
    weights,
    twice.map((index) => world.shared.prompts.voting[index]!),
    seed,
  );
  const random = seedRandom(seed, 1_000_000);
  return indices.flatMap((prompt, i) => {
    const [a, b] = [samples[2 * i]!, samples[2 * i + 1]!];
    if (a.responseIds.join() === b.responseIds.join()) return [];
    const choice = vote(taste.utility(world.decode(a)), taste.utility(world.decode(b)), votes, random);
    if (choice === null) return [];
    return [choice === 'a' ? { chosen: a, rejected: b, prompt } : { chosen: b, rejected: a, prompt }];
  });
}

async function addSamplerLogps(policy: Engine, pairs: RatedPair[]): Promise<SampledPair[]> {
  const logps = await policy.score(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]));
  return pairs.map((pair, i) => ({ ...pair, samplerLogps: { chosen: logps[2 * i]!, rejected: logps[2 * i + 1]! } }));
}

async function addReference(reference: Engine, pairs: RatedPair[]): Promise<TrainPair[]> {
  const logps = await reference.score(pairs.flatMap(({ chosen, rejected }) => [chosen, rejected]));
  return pairs.map(({ chosen, rejected }, i) => ({
    chosen,
    rejected,
    refChosenLogps: logps[2 * i]!,
    refRejectedLogps: logps[2 * i + 1]!,
  }));
}

/** As a round does with the log-probabilities that were stored when the sides were sampled. */
function weigh(spec: OnlineRunSpec, sampled: SampledPair[], scored: TrainPair[]): TrainPair[] {
  if (spec.weighting === 'none') return scored;
  const side = ({ responseIds }: Sequence, logps: Float32Array) => ({ policyId: '', responseIds, logps: [...logps] });
  const items = sampled.map(({ chosen, rejected, samplerLogps }) => ({
    pair: {
      sampled: {
        promptIds: chosen.promptIds,
        chosen: side(chosen, samplerLogps.chosen),
        rejected: side(rejected, samplerLogps.rejected),
      },
    },
    tokens: { isPromptTruncated: false },
  }));
  return weightPairs({ negatives: spec.negatives, weight_cap: 2 }, items, scored).pairs;
}

function trainRound(
  world: World,
  engine: Engine,
  spec: OnlineRunSpec,
  seed: number,
  train: TrainPair[],
  heldOut: TrainPair[],
): Promise<{ steps: number }> {
  const { objective, reduction, negatives, reference, weighting, beta, learningRate } = spec;
  const request = { objective, reduction, negatives, reference, weighting, beta, learning_rate: learningRate, seed };
  return trainPolicy({
    engine,
    train,
    heldOut,
    config: completeRoundSettings({ ...request, batch_pairs: world.shared.sizes.batchPairs }, readSettings({})),
    objective: { type: objective },
    log: { addEvent: async () => {}, addMetrics: async () => {}, reportProgress: () => {} },
    folder: path.join(world.shared.folder, `round-${seed}`),
  });
}

async function measurePolicy(
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
    winRate: mean(utilities.map((u, i) => (u === rootUtilities[i] ? 0.5 : u > rootUtilities[i]! ? 1 : 0))),
    kl: mean(logps.map((tokens, i) => estimateKl(tokens, rootLogps[i]!))),
    meanLength: mean(samples.map(({ responseIds }) => responseIds.length)),
  };
}

/** Σ_t (ρ − 1 − log ρ), ρ = π_root/π of the sampled token: unbiased, not negative (Schulman's k3). */
function estimateKl(logps: Float32Array, rootLogps: Float32Array): number {
  return sum(Array.from(logps, (logp, t) => Math.exp(rootLogps[t]! - logp) - 1 - (rootLogps[t]! - logp)));
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
