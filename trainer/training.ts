// The training loop. Each epoch has a new order, held-out pairs are evaluated during training, and the best and
// the last weights are on disk, so that a killed round can be resumed. The same seed gives the same weights on one
// machine, with or without a kill.

import type { RoundMethod } from '../shared/database/round-types.ts';
import { hashContent } from '../shared/digest.ts';
import { AttuneError } from '../shared/error.ts';
import { shuffledIndices } from '../shared/random.ts';
import { listMethodSettings, type RoundSettings } from '../shared/rounds/settings.ts';
import type { Engine, StepReport, TrainPair } from './engine/engine.ts';
import { adviseOnDivergence } from './evaluation/divergence-advice.ts';
import { evaluateInChunks } from './evaluation/score-chunks.ts';
import { openCheckpoint, type TrainingProgress } from './stages/checkpoint.ts';
import { type EvaluationPlan, planEvaluations, spreadEvaluations } from './stages/evaluation-plan.ts';
import { InterruptedError, type RoundLog } from './stages/log.ts';
import { learningRateAt } from './stages/lr-schedule.ts';
import type { ObjectiveDescription } from './stages/round-context.ts';

export const SAVE_INTERVAL_MS = 60_000;

/** Nats per response; `onProgress` may throw, which stops it. */
export type MeasureKl = (onProgress: (responses: number) => void) => Promise<number>;

export type TrainOptions = {
  engine: Engine;
  train: TrainPair[];
  heldOut: TrainPair[];
  /** Default: planned from the pairs. */
  evaluations?: EvaluationPlan;
  config: RoundSettings;
  /** Default: dil. */
  method?: RoundMethod;
  objective: ObjectiveDescription;
  log: Pick<RoundLog, 'addEvent' | 'addMetrics' | 'reportProgress'>;
  /** The KL to the root of what the engine holds now; measured with each evaluation but the last, which the gate's follows. */
  measureKl?: MeasureKl | null;
  /** Folder of the checkpoint; the caller removes it. */
  folder: string;
  /** Time between two checkpoints; default: SAVE_INTERVAL_MS. */
  saveIntervalMs?: number;
};

/**
 * Trains for config.epochs. Stops early, with the best weights, once held-out pairs no longer improve. Returns the steps
 * trained. Throws AttuneError if the loss or the gradient is not finite.
 */
export async function trainPolicy(options: TrainOptions): Promise<{ steps: number }> {
  const { engine, train, config, method = 'dil', log, saveIntervalMs = SAVE_INTERVAL_MS } = options;
  const stepsPerEpoch = Math.ceil(train.length / config.batch_pairs);
  const steps = stepsPerEpoch * config.epochs;
  const { count, pairs } = options.evaluations ?? planEvaluations(options, steps);
  const evaluationSteps = spreadEvaluations(count, steps);
  const evaluationPairs = options.heldOut.slice(0, pairs);
  const sequences = train.map(({ chosen, rejected }) => [chosen, rejected]);
  // A resumed round completes the settings of other methods from those of its new trainer.
  const fingerprint = hashContent([listMethodSettings(method, config), options.objective, steps, sequences]);
  const { resumed, save, bestFile } = await openCheckpoint(options.folder, fingerprint, engine);
  let progress = resumed ?? INITIAL_PROGRESS;
  if (resumed) await log.addEvent('message', `resuming after step ${resumed.step} of ${steps}`);

  let startedAt = performance.now() - progress.seconds * 1000;
  let savedAt = performance.now();
  while (progress.step < steps) {
    const { step } = progress;
    const batch = selectBatch(train, config, step, stepsPerEpoch);
    const report = await engine.step(batch, learningRateAt(step, steps, config));
    if (!Number.isFinite(report.loss) || !Number.isFinite(report.gradNorm)) {
      await save(progress);
      throw toDivergenceError(report, step, options.folder, adviseOnDivergence(method, config));
    }
    const seconds = (performance.now() - startedAt) / 1000;
    progress = { ...progress, step: step + 1, tokens: progress.tokens + report.tokens, seconds };
    const tokensPerSecond = Math.round(progress.tokens / seconds);
    try {
      await log.addMetrics(progress.step, 'train', toMetrics(report, tokensPerSecond));
      const note = `loss ${report.loss.toFixed(4)}, ${tokensPerSecond} tokens/s`;
      log.reportProgress('training', progress.step, steps, note);
    } catch (error) {
      // Fails if another trainer has adopted the folder.
      if (error instanceof InterruptedError) await save(progress).catch(() => {});
      throw error;
    }

    if (evaluationSteps.has(progress.step)) {
      const pausedAt = performance.now();
      const report = (note: string) => log.reportProgress('training', progress.step, steps, note);
      const { metrics } = await evaluateInChunks(engine, evaluationPairs, (done) =>
        report(`${done} of ${evaluationPairs.length} held-out pairs`),
      );
      const kl = await measureDistance(options, progress.step < steps, metrics, report);
      await log.addMetrics(progress.step, 'held_out', { pairs: evaluationPairs.length, ...metrics, ...kl });
      const loss = metrics.loss!;
      const isBest = progress.bestLoss === null || loss < progress.bestLoss;
      progress = isBest
        ? { ...progress, bestLoss: loss, bestStep: progress.step, evaluationsSinceBest: 0 }
        : { ...progress, evaluationsSinceBest: progress.evaluationsSinceBest + 1 };
      // After the last step the engine holds these weights anyway.
      if (isBest && progress.step < steps) await save(progress, 'best');
      startedAt += performance.now() - pausedAt;
      if (isOutOfPatience(progress, config)) {
        if (progress.step < steps) {
          const message = `stopped at step ${progress.step} of ${steps}: no better held-out loss since step ${progress.bestStep}`;
          await log.addEvent('message', message);
        }
        break;
      }
    }
    if (performance.now() - savedAt > saveIntervalMs) {
      await save(progress);
      savedAt = performance.now();
    }
  }
  // Only after an early stop: the weights at the end of a full schedule are better than those with the lowest loss on a
  // small evaluation.
  if (isOutOfPatience(progress, config)) {
    await engine.restore(bestFile());
    await log.addEvent('message', `restored the weights of step ${progress.bestStep}, the best on held-out pairs`);
  }
  const { step, tokens, seconds } = progress;
  await log.addEvent('metrics', `trained ${step} steps`, { steps: step, tokens, seconds });
  return { steps: step };
}

const INITIAL_PROGRESS: TrainingProgress = {
  step: 0,
  tokens: 0,
  seconds: 0,
  bestLoss: null,
  bestStep: null,
  evaluationsSinceBest: 0,
};

function isOutOfPatience(
  { evaluationsSinceBest }: TrainingProgress,
  { early_stopping: patience }: RoundSettings,
): boolean {
  return patience > 0 && evaluationsSinceBest >= patience;
}

/** A policy whose log-probabilities are not finite cannot be sampled from. */
async function measureDistance(
  { measureKl }: TrainOptions,
  isWanted: boolean,
  metrics: Record<string, number>,
  report: (note: string) => void,
): Promise<Record<string, number>> {
  if (!measureKl || !isWanted || !Object.values(metrics).every(Number.isFinite)) return {};
  return { 'objective/kl': await measureKl((done) => report(`${done} responses for the KL`)) };
}

/** The pairs of a step; each epoch has an order of its own. */
export function selectBatch<Pair>(pairs: Pair[], config: RoundSettings, step: number, stepsPerEpoch: number): Pair[] {
  const order = shuffledIndices(pairs.length, config.seed + Math.floor(step / stepsPerEpoch));
  const at = (step % stepsPerEpoch) * config.batch_pairs;
  return order.slice(at, at + config.batch_pairs).map((index) => pairs[index]!);
}

function toMetrics({ loss, gradNorm, metrics }: StepReport, tokensPerSecond: number): Record<string, number> {
  return { loss, grad_norm: gradNorm, tokens_per_second: tokensPerSecond, ...metrics };
}

function toDivergenceError(
  { loss, gradNorm, nonFinite }: StepReport,
  step: number,
  folder: string,
  advice: string,
): AttuneError {
  const value = Number.isFinite(loss) ? `the gradient's norm is ${gradNorm}` : `the loss is ${loss}`;
  const where = nonFinite ? ` (${nonFinite})` : '';
  return new AttuneError(
    `training diverged at step ${step + 1}: ${value}${where}; ${advice}. The weights after step ${step} are in ${folder}`,
    { code: 'training_diverged' },
  );
}
