// Simulated Bradley-Terry raters over an enumerable response space: a tiny random decoder with a vocabulary of a few
// tokens and responses of a few tokens. So the distributions of the reference and of chosen responses, and the KL
// divergence of any policy from them, are exact.
import { seedRandom } from '../../shared/decoder/random.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { tinyArchitecture, tinyWeights } from '../../testing/tiny-checkpoint.ts';
import type { Engine, Sequence, TrainPair } from '../../trainer/engine/engine.ts';
import { openEngine } from '../../trainer/engine/open-engine.ts';
import { learningRateAt } from '../../trainer/stages/lr-schedule.ts';
import { sum } from '../report/statistics.ts';
import type { Method, RaterStudyConfig } from './config.ts';
import { listEvaluationSteps, SCHEDULE } from './training-run.ts';

/** A prompt with all its responses and their probabilities under the reference and among chosen responses. */
export type Prompt = { sequences: Sequence[]; reference: number[]; refLogps: Float32Array[]; chosen: number[] };
export type RaterTask = { architecture: Architecture; weights: Weights; prompts: Prompt[]; rewards: number[][] };

export type KlEvaluation = {
  step: number;
  /** KL(chosen distribution ‖ policy), in nats, mean over prompts. */
  forward: number;
  /** KL(policy ‖ chosen distribution), likewise. */
  backward: number;
};
export type RaterRun = { method: Method; seed: number; evaluations: KlEvaluation[] };

/** The winner's marginal for two samples of the reference: π_c(y) = 2 π_ref(y) Σ_z π_ref(z) σ(r(y) − r(z)). */
export function chosenDistribution(reference: number[], rewards: number[]): number[] {
  return reference.map(
    (p, y) => 2 * p * reference.reduce((sum, q, z) => sum + q * sigmoid(rewards[y]! - rewards[z]!), 0),
  );
}

/** The exact minimizer of DPO's loss: π_ref exp(r/β), which is not the chosen distribution. */
export function tiltedDistribution(reference: number[], rewards: number[], beta: number): number[] {
  const top = Math.max(...rewards);
  const mass = reference.map((p, y) => p * Math.exp((rewards[y]! - top) / beta));
  const total = mass.reduce((sum, value) => sum + value, 0);
  return mass.map((value) => value / total);
}

export function klDivergence(p: number[], q: number[]): number {
  return p.reduce((sum, value, i) => (value === 0 ? sum : sum + value * Math.log(value / q[i]!)), 0);
}

export async function createRaterTask(
  config: Pick<RaterStudyConfig, 'vocabSize' | 'responseTokens' | 'prompts' | 'rewardStd'>,
): Promise<RaterTask> {
  const { vocabSize, responseTokens, prompts: promptCount, rewardStd } = config;
  const architecture = tinyArchitecture({ vocabSize, contextLength: 32 });
  const weights = tinyWeights(architecture, 1);
  const random = seedRandom(1, 0);
  const engine = await openEngine({ architecture, weights, objective: {}, threads: 1 });
  try {
    const prompts: Prompt[] = [];
    const rewards: number[][] = [];
    for (let token = 0; token < promptCount; token++) {
      // Rewards by token and position, different for every prompt.
      const tokenRewards = Array.from({ length: responseTokens * vocabSize }, () => random() - 0.5);
      const sequences = listResponses(vocabSize, responseTokens).map((responseIds) => ({
        promptIds: [token],
        responseIds,
      }));
      const refLogps = await engine.score(sequences);
      const reference = refLogps.map((logps) => Math.exp(sum(logps)));
      const raw = sequences.map(({ responseIds }) =>
        sum(responseIds.map((id, position) => tokenRewards[position * vocabSize + id]!)),
      );
      // Normalised to mean 0 and standard deviation `rewardStd` under the reference.
      const mean = sum(raw.map((r, y) => r * reference[y]!));
      const deviation = Math.sqrt(sum(raw.map((r, y) => reference[y]! * (r - mean) ** 2)));
      const normalised = raw.map((r) => (rewardStd * (r - mean)) / deviation);
      rewards.push(normalised);
      prompts.push({ sequences, reference, refLogps, chosen: chosenDistribution(reference, normalised) });
    }
    return { architecture, weights, prompts, rewards };
  } finally {
    await engine.close();
  }
}

/** Trains on fresh pairs at every step and measures the distance from the chosen distribution. */
export async function trainOnRaters(
  task: RaterTask,
  config: RaterStudyConfig,
  { method, seed }: Pick<RaterRun, 'method' | 'seed'>,
  onStep: (step: number, note: string) => void,
): Promise<RaterRun> {
  const { steps, batchPairs, learningRate } = config;
  const random = seedRandom(seed, 1);
  const evaluationSteps = listEvaluationSteps(config.evaluations, steps);
  const run: RaterRun = { method, seed, evaluations: [] };
  const engine = await openEngine({
    architecture: task.architecture,
    weights: task.weights,
    objective: method.objective,
    threads: 1,
    microBatchTokens: 4096,
  });
  try {
    run.evaluations.push(await evaluate(engine, task, 0));
    for (let step = 0; step < steps; step++) {
      const pairs = Array.from({ length: batchPairs }, () => samplePair(task, random));
      const { loss } = await engine.step(
        pairs,
        learningRateAt(step, steps, { learning_rate: learningRate, ...SCHEDULE }),
      );
      if (evaluationSteps.has(step + 1)) run.evaluations.push(await evaluate(engine, task, step + 1));
      onStep(step + 1, `loss ${loss.toFixed(3)}, KL ${run.evaluations.at(-1)!.forward.toFixed(4)}`);
    }
    return run;
  } finally {
    await engine.close();
  }
}

async function evaluate(engine: Engine, { prompts }: RaterTask, step: number): Promise<KlEvaluation> {
  const result: KlEvaluation = { step, forward: 0, backward: 0 };
  const scores = await engine.score(prompts.flatMap(({ sequences }) => sequences));
  for (const [i, { sequences, chosen }] of prompts.entries()) {
    const logps = scores.slice(i * sequences.length, (i + 1) * sequences.length);
    const policy = logps.map((each) => Math.exp(sum(each)));
    result.forward += klDivergence(chosen, policy) / prompts.length;
    result.backward += klDivergence(policy, chosen) / prompts.length;
  }
  return result;
}

function samplePair({ prompts, rewards }: RaterTask, random: () => number): TrainPair {
  const at = Math.floor(random() * prompts.length);
  const { reference, sequences, refLogps } = prompts[at]!;
  const [y, z] = [sampleIndex(reference, random), sampleIndex(reference, random)];
  const isFirst = random() < sigmoid(rewards[at]![y]! - rewards[at]![z]!);
  const [w, l] = isFirst ? [y, z] : [z, y];
  return {
    chosen: sequences[w]!,
    rejected: sequences[l]!,
    refChosenLogps: refLogps[w]!,
    refRejectedLogps: refLogps[l]!,
  };
}

function sampleIndex(distribution: number[], random: () => number): number {
  let rest = random();
  for (const [i, p] of distribution.entries()) {
    rest -= p;
    if (rest < 0) return i;
  }
  return distribution.length - 1;
}

/** All sequences of `length` tokens. */
function listResponses(vocabSize: number, length: number): number[][] {
  if (length === 0) return [[]];
  const shorter = listResponses(vocabSize, length - 1);
  return shorter.flatMap((ids) => Array.from({ length: vocabSize }, (_, id) => [...ids, id]));
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
