// One objective trained on real pairs: the engine's own steps, and looks at the held-out pairs on the way. Every run
// starts at the reference, draws as many pairs and makes as many steps; the seed says which pairs, and in what order.
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Engine, TrainPair } from '../../trainer/engine/engine.ts';
import { learningRateAt, shuffle } from '../../trainer/stages/lr-schedule.ts';
import { type Divergence, estimateKl } from './kl.ts';
import type { Contender, StudyPlan } from './plan.ts';

/**
 * Log-probabilities of each held-out pair's responses, summed over their tokens, after a number of steps; and how far
 * the policy is from the reference, where it is not the reference.
 */
export type Look = { step: number; chosen: number[]; rejected: number[]; divergence: Divergence | null };

export type Run = {
  contender: Contender;
  learningRate: number;
  seed: number;
  looks: Look[];
  losses: number[];
  tokens: number;
  /** Of training alone. */
  seconds: number;
};

/** Half a cosine after a warm-up of a tenth: the paper's released settings, whatever a round's defaults are. */
export const SCHEDULE = { lr_schedule: 'cosine', warm_up: 0.1 } as const;

/** `engine` has the reference's weights when it begins. */
export async function runContender(
  engine: Engine,
  reference: Engine,
  pairs: { train: TrainPair[]; heldOut: TrainPair[] },
  plan: StudyPlan & { architecture: Architecture },
  { contender, learningRate, seed }: Pick<Run, 'contender' | 'learningRate' | 'seed'>,
  onStep: (step: number, note: string) => void,
): Promise<Run> {
  const steps = Math.ceil(plan.trainPairs / plan.batchPairs);
  const drawn = shuffle(pairs.train.length, seed).slice(0, plan.trainPairs);
  const lookAt = new Set(Array.from({ length: plan.looks }, (_, i) => Math.round(((i + 1) * steps) / plan.looks)));
  const look = (step: number) => takeLook(engine, reference, pairs.heldOut, plan, seed, step);
  const run: Run = { contender, learningRate, seed, looks: [await look(0)], losses: [], tokens: 0, seconds: 0 };
  for (let step = 0; step < steps; step++) {
    const batch = drawn.slice(step * plan.batchPairs, (step + 1) * plan.batchPairs).map((at) => pairs.train[at]!);
    const started = performance.now();
    const report = await engine.step(batch, learningRateAt(step, steps, { learning_rate: learningRate, ...SCHEDULE }));
    run.seconds += (performance.now() - started) / 1000;
    if (!Number.isFinite(report.loss) || !Number.isFinite(report.gradNorm))
      throw new AttuneError(
        `evidence: ${contender.name} diverged at step ${step + 1} with the loss ${report.loss}; lower its learning rate of ${learningRate} in tools/evidence/plan.ts`,
      );
    run.tokens += report.tokens;
    run.losses.push(report.loss);
    onStep(step + 1, `loss ${report.loss.toFixed(3)}, ${Math.round(run.tokens / run.seconds)} tokens/s`);
    if (lookAt.has(step + 1)) run.looks.push(await look(step + 1));
  }
  return run;
}

async function takeLook(
  engine: Engine,
  reference: Engine,
  heldOut: TrainPair[],
  { architecture, kl }: StudyPlan & { architecture: Architecture },
  seed: number,
  step: number,
): Promise<Look> {
  const { outcomes } = await engine.evaluate(heldOut);
  const prompts = Array.from({ length: kl.samples }, (_, i) => heldOut[i % heldOut.length]!.chosen.promptIds);
  const drawing = { maxTokens: kl.maxTokens, seed: 1000 * seed + step };
  return {
    step,
    chosen: outcomes.map(({ chosenLogp }) => chosenLogp),
    rejected: outcomes.map(({ rejectedLogp }) => rejectedLogp),
    divergence: step === 0 ? null : await estimateKl(engine, reference, architecture, prompts, drawing),
  };
}
