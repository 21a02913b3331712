// Simulated raters of a known Bradley-Terry taste, over a world so small that every response can be listed: a tiny
// random decoder whose vocabulary has a few tokens, responses of a few tokens. The reference's distribution is exact, so
// is that of the chosen responses, and so is the divergence of any policy from it.
import { seedRandom } from '../../shared/decoder/random.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/safetensors.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import type { Engine, Sequence, TrainPair } from '../../trainer/engine/engine.ts';
import { openEngine } from '../../trainer/engine/open-engine.ts';
import { learningRateAt } from '../../trainer/stages/lr-schedule.ts';
import type { Contender, TastePlan } from './plan.ts';

/** Of each prompt, over its responses: rewards, and the distributions of the reference and of what raters choose. */
export type Prompt = { sequences: Sequence[]; reference: number[]; refLogps: Float32Array[]; chosen: number[] };
export type World = { architecture: Architecture; weights: Weights; prompts: Prompt[]; rewards: number[][] };

export type TasteLook = {
  step: number;
  /** KL(true chosen distribution ‖ policy), in nats, the mean over prompts. */
  forward: number;
  /** KL(policy ‖ true chosen distribution). */
  backward: number;
};
export type TasteRun = { contender: Contender; seed: number; looks: TasteLook[] };

/** Winners' marginal when both sides come from the reference: π_c(y) = 2 π_ref(y) Σ_z π_ref(z) σ(r(y) − r(z)). */
export function chosenDistribution(reference: number[], rewards: number[]): number[] {
  return reference.map(
    (p, y) => 2 * p * reference.reduce((sum, q, z) => sum + q * sigmoid(rewards[y]! - rewards[z]!), 0),
  );
}

/** What DPO's loss is least at, exactly: π_ref exp(r/β), whatever the raters' chosen distribution is. */
export function tiltedDistribution(reference: number[], rewards: number[], beta: number): number[] {
  const top = Math.max(...rewards);
  const mass = reference.map((p, y) => p * Math.exp((rewards[y]! - top) / beta));
  const total = mass.reduce((sum, value) => sum + value, 0);
  return mass.map((value) => value / total);
}

export function divergence(p: number[], q: number[]): number {
  return p.reduce((sum, value, i) => (value === 0 ? sum : sum + value * Math.log(value / q[i]!)), 0);
}

export async function makeWorld(plan: TastePlan): Promise<World> {
  const { vocabulary, length, prompts: count, spread } = plan;
  const architecture = tinyArchitecture({ vocabSize: vocabulary, contextLength: 32 });
  const weights = tinyWeights(architecture, 1);
  const random = seedRandom(1, 0);
  const engine = await openEngine({ architecture, weights, objective: {}, threads: 1 });
  try {
    const prompts: Prompt[] = [];
    const rewards: number[][] = [];
    for (let token = 0; token < count; token++) {
      // A taste for each token at each place, another for each prompt.
      const taste = Array.from({ length: length * vocabulary }, () => random() - 0.5);
      const sequences = listResponses(vocabulary, length).map((responseIds) => ({ promptIds: [token], responseIds }));
      const refLogps = await engine.score(sequences);
      const reference = refLogps.map((logps) => Math.exp(sum(logps)));
      const raw = sequences.map(({ responseIds }) =>
        sum(responseIds.map((id, place) => taste[place * vocabulary + id]!)),
      );
      // So that `spread` is the standard deviation of a reward under the reference.
      const mean = sum(raw.map((r, y) => r * reference[y]!));
      const deviation = Math.sqrt(sum(raw.map((r, y) => reference[y]! * (r - mean) ** 2)));
      const own = raw.map((r) => (spread * (r - mean)) / deviation);
      rewards.push(own);
      prompts.push({ sequences, reference, refLogps, chosen: chosenDistribution(reference, own) });
    }
    return { architecture, weights, prompts, rewards };
  } finally {
    await engine.close();
  }
}

/** Trains on raters' choices, never twice on the same draw, and looks at how far the policy is from what they choose. */
export async function runTaste(
  world: World,
  plan: TastePlan,
  { contender, seed }: Pick<TasteRun, 'contender' | 'seed'>,
  onStep: (step: number, steps: number, note: string) => void,
): Promise<TasteRun> {
  const { steps, batchPairs, learningRate, looks } = plan;
  const random = seedRandom(seed, 1);
  const lookAt = new Set(Array.from({ length: looks }, (_, i) => Math.round(((i + 1) * steps) / looks)));
  const run: TasteRun = { contender, seed, looks: [] };
  const engine = await openEngine({
    architecture: world.architecture,
    weights: world.weights,
    objective: contender.objective,
    threads: 1,
    microBatchTokens: 4096,
  });
  try {
    run.looks.push(await look(engine, world, 0));
    for (let step = 0; step < steps; step++) {
      const pairs = Array.from({ length: batchPairs }, () => drawPair(world, random));
      const rate = learningRateAt(step, steps, { learning_rate: learningRate, lr_schedule: 'cosine', warm_up: 0.1 });
      const { loss } = await engine.step(pairs, rate);
      if (lookAt.has(step + 1)) run.looks.push(await look(engine, world, step + 1));
      onStep(step + 1, steps, `loss ${loss.toFixed(3)}, KL ${run.looks.at(-1)!.forward.toFixed(4)}`);
    }
    return run;
  } finally {
    await engine.close();
  }
}

async function look(engine: Engine, { prompts }: World, step: number): Promise<TasteLook> {
  const found: TasteLook = { step, forward: 0, backward: 0 };
  const scores = await engine.score(prompts.flatMap(({ sequences }) => sequences));
  for (const [i, { sequences, chosen }] of prompts.entries()) {
    const own = scores.slice(i * sequences.length, (i + 1) * sequences.length);
    const policy = own.map((logps) => Math.exp(sum(logps)));
    found.forward += divergence(chosen, policy) / prompts.length;
    found.backward += divergence(policy, chosen) / prompts.length;
  }
  return found;
}

function drawPair({ prompts, rewards }: World, random: () => number): TrainPair {
  const at = Math.floor(random() * prompts.length);
  const { reference, sequences, refLogps } = prompts[at]!;
  const [y, z] = [draw(reference, random), draw(reference, random)];
  const isFirst = random() < sigmoid(rewards[at]![y]! - rewards[at]![z]!);
  const [w, l] = isFirst ? [y, z] : [z, y];
  return {
    chosen: sequences[w]!,
    rejected: sequences[l]!,
    refChosenLogps: refLogps[w]!,
    refRejectedLogps: refLogps[l]!,
  };
}

function draw(distribution: number[], random: () => number): number {
  let rest = random();
  for (const [i, p] of distribution.entries()) {
    rest -= p;
    if (rest < 0) return i;
  }
  return distribution.length - 1;
}

/** Every sequence of `length` tokens. */
function listResponses(vocabulary: number, length: number): number[][] {
  if (length === 0) return [[]];
  const shorter = listResponses(vocabulary, length - 1);
  return shorter.flatMap((ids) => Array.from({ length: vocabulary }, (_, id) => [...ids, id]));
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);
