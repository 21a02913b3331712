// One training run on real pairs: the trainer's own engine steps, with held-out evaluations in between. Every run starts
// from the reference with the same number of pairs and steps; the seed decides which pairs, and their order.
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { shuffledIndices } from '../../shared/random.ts';
import type { Engine, TrainPair } from '../../trainer/engine/engine.ts';
import { learningRateAt } from '../../trainer/stages/lr-schedule.ts';
import type { Method, PreferenceStudyConfig } from './config.ts';
import { estimateKl, type KlEstimate } from './kl.ts';

/**
 * Log-probabilities of each held-out pair's responses, summed over tokens, and KL(policy ‖ reference), which is null at
 * step 0 where the policy is the reference.
 */
export type Evaluation = { step: number; chosen: number[]; rejected: number[]; kl: KlEstimate | null };

export type TrainingRun = {
  method: Method;
  learningRate: number;
  seed: number;
  evaluations: Evaluation[];
  losses: number[];
  tokens: number;
  /** Optimizer steps only, without evaluations. */
  seconds: number;
};

/** Cosine decay after a warm-up of a tenth: the paper's released settings, independent of a round's defaults. */
export const SCHEDULE = { lr_schedule: 'cosine', warm_up: 0.1 } as const;

type RunConfig = PreferenceStudyConfig & { architecture: Architecture };

/** `engine` must be at the reference's weights. Throws AttuneError when the loss diverges. */
export async function trainMethod(
  engine: Engine,
  reference: Engine,
  pairs: { train: TrainPair[]; heldOut: TrainPair[] },
  config: RunConfig,
  { method, learningRate, seed }: Pick<TrainingRun, 'method' | 'learningRate' | 'seed'>,
  onStep: (step: number, note: string) => void,
): Promise<TrainingRun> {
  const steps = Math.ceil(config.trainPairs / config.batchPairs);
  const sampled = shuffledIndices(pairs.train.length, seed).slice(0, config.trainPairs);
  const evaluationSteps = listEvaluationSteps(config.evaluations, steps);
  const evaluateAt = (step: number) => evaluate(engine, reference, pairs.heldOut, config, seed, step);
  const run: TrainingRun = {
    method,
    learningRate,
    seed,
    evaluations: [await evaluateAt(0)],
    losses: [],
    tokens: 0,
    seconds: 0,
  };
  for (let step = 0; step < steps; step++) {
    const indices = sampled.slice(step * config.batchPairs, (step + 1) * config.batchPairs);
    const batch = indices.map((index) => pairs.train[index]!);
    const started = performance.now();
    const report = await engine.step(batch, learningRateAt(step, steps, { learning_rate: learningRate, ...SCHEDULE }));
    run.seconds += (performance.now() - started) / 1000;
    if (!Number.isFinite(report.loss) || !Number.isFinite(report.gradNorm))
      throw new AttuneError(
        `evidence: ${method.name} diverged at step ${step + 1} (loss ${report.loss}, learning rate ${learningRate}); lower its learning rate in tools/evidence/config.ts`,
      );
    run.tokens += report.tokens;
    run.losses.push(report.loss);
    onStep(step + 1, `loss ${report.loss.toFixed(3)}, ${Math.round(run.tokens / run.seconds)} tokens/s`);
    if (evaluationSteps.has(step + 1)) run.evaluations.push(await evaluateAt(step + 1));
  }
  return run;
}

/** `count` steps at equal distances, the last one included. */
export function listEvaluationSteps(count: number, steps: number): ReadonlySet<number> {
  return new Set(Array.from({ length: count }, (_, i) => Math.round(((i + 1) * steps) / count)));
}

async function evaluate(
  engine: Engine,
  reference: Engine,
  heldOut: TrainPair[],
  { architecture, kl }: RunConfig,
  seed: number,
  step: number,
): Promise<Evaluation> {
  const { outcomes } = await engine.evaluate(heldOut);
  const prompts = Array.from({ length: kl.samples }, (_, i) => heldOut[i % heldOut.length]!.chosen.promptIds);
  const sampling = { maxTokens: kl.maxTokens, seed: 1000 * seed + step };
  return {
    step,
    chosen: outcomes.map(({ chosenLogp }) => chosenLogp),
    rejected: outcomes.map(({ rejectedLogp }) => rejectedLogp),
    kl: step === 0 ? null : await estimateKl(engine, reference, architecture, prompts, sampling),
  };
}
