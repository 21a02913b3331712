// The loop over a round's steps: every epoch in a new order, held-out pairs looked at on the way, the best state and
// the last one on disk, so that a killed trainer goes on where it was. The same seed gives the same weights on one
// machine, whether it was killed or not.

import { hashContent } from '../shared/digest.ts';
import { AttuneError } from '../shared/error.ts';
import type { RoundSettings } from '../shared/rounds/settings.ts';
import type { Engine, StepReport, TrainPair } from './engine/engine.ts';
import { openCheckpoint, type Place } from './stages/checkpoint.ts';
import { Interruption, type RoundRecord } from './stages/log.ts';
import { learningRateAt, planLooks, shuffle } from './stages/lr-schedule.ts';

export type Training = {
  engine: Engine;
  train: TrainPair[];
  heldOut: TrainPair[];
  how: RoundSettings;
  /** What it is trained by; a user's module with its digest. */
  objective: { type: string; sha256?: string };
  record: Pick<RoundRecord, 'say' | 'measure' | 'progress'>;
  /** Where the state is kept on the way; the caller's to remove. */
  folder: string;
  /** Seconds between two states on disk. */
  saveEvery?: number;
};

/** Trains. Where held-out pairs saw no improvement any more it stops, with the best weights. Returns the steps made. */
export async function trainPolicy(training: Training): Promise<{ steps: number }> {
  const { engine, train, how, record, saveEvery = 60 } = training;
  const perEpoch = Math.ceil(train.length / how.batch_pairs);
  const steps = perEpoch * how.epochs;
  const { at: looks, pairs: watched } = planLooks(training, steps);
  const plan = await hashContent([
    how,
    training.objective,
    steps,
    train.map(({ chosen, rejected }) => [chosen, rejected]),
  ]);
  const { kept, save, bestFile } = await openCheckpoint(training.folder, plan, engine);
  let place: Place = kept ?? { step: 0, tokens: 0, seconds: 0, bestLoss: null, bestStep: null, misses: 0 };
  if (kept) await record.say('message', `going on after step ${kept.step} of ${steps}, where the trainer was stopped`);

  let started = performance.now() - place.seconds * 1000;
  const secondsNow = () => (performance.now() - started) / 1000;
  let saved = performance.now();
  while (place.step < steps) {
    const { step } = place;
    const batch = takeBatch(train, how, step, perEpoch);
    const report = await engine.step(batch, learningRateAt(step, steps, how));
    if (!isSound(report)) {
      await save(place);
      throw diverged(report, step, training.folder);
    }
    place = { ...place, step: step + 1, tokens: place.tokens + report.tokens, seconds: secondsNow() };
    const rate = Math.round(place.tokens / place.seconds);
    await record.measure(place.step, 'train', toMetrics(report, rate));
    await tellStep(record, place, steps, `loss ${report.loss.toFixed(4)}, ${rate} tokens/s`, save);

    if (looks.has(place.step)) {
      const paused = performance.now();
      const { loss, metrics } = await engine.evaluate(watched);
      await record.measure(place.step, 'held_out', { loss, pairs: watched.length, ...metrics });
      const better = place.bestLoss === null || loss < place.bestLoss;
      place = better
        ? { ...place, bestLoss: loss, bestStep: place.step, misses: 0 }
        : { ...place, misses: place.misses + 1 };
      // The last one is there anyway.
      if (better && place.step < steps) await save(place, 'best');
      started += performance.now() - paused;
      if (isOver(place, how)) {
        const told = `no better since step ${place.bestStep}`;
        if (place.step < steps) await record.say('message', `stopped at step ${place.step} of ${steps}: ${told}`);
        break;
      }
    }
    if (performance.now() - saved > saveEvery * 1000) {
      await save(place);
      saved = performance.now();
    }
  }
  // The end of a schedule is better than what a look at few pairs says; a training that was ended for harm is not.
  if (isOver(place, how)) {
    await engine.restore(bestFile());
    await record.say('message', `took the weights of step ${place.bestStep}, the best on held-out pairs`);
  }
  const { step, tokens, seconds } = place;
  await record.say('metrics', `trained ${step} steps`, { steps: step, tokens, seconds });
  return { steps: step };
}

/** Whoever watches may stop the round here; nothing of it is lost. */
async function tellStep(
  record: Training['record'],
  place: Place,
  steps: number,
  note: string,
  save: (place: Place) => Promise<void>,
): Promise<void> {
  try {
    record.progress('training', place.step, steps, note);
  } catch (error) {
    if (error instanceof Interruption) await save(place);
    throw error;
  }
}

function isOver({ misses }: Place, { early_stopping: patience }: RoundSettings): boolean {
  return patience > 0 && misses >= patience;
}

function takeBatch(pairs: TrainPair[], how: RoundSettings, step: number, perEpoch: number): TrainPair[] {
  const order = shuffle(pairs.length, how.seed + Math.floor(step / perEpoch));
  const at = (step % perEpoch) * how.batch_pairs;
  return order.slice(at, at + how.batch_pairs).map((index) => pairs[index]!);
}

function toMetrics(report: StepReport, rate: number): Record<string, number> {
  return { loss: report.loss, grad_norm: report.gradNorm, tokens_per_second: rate, ...report.metrics };
}

function isSound({ loss, gradNorm }: StepReport): boolean {
  return Number.isFinite(loss) && Number.isFinite(gradNorm);
}

function diverged({ loss, gradNorm, nonFinite }: StepReport, step: number, folder: string): AttuneError {
  const what = Number.isFinite(loss) ? `the gradient's norm is ${gradNorm}` : `the loss is ${loss}`;
  const where = nonFinite ? ` (${nonFinite})` : '';
  return new AttuneError(
    `training diverged at step ${step + 1}: ${what}${where}; lower LEARNING_RATE or use REDUCTION=mean. The weights after step ${step} are in ${folder}`,
    { code: 'training_diverged' },
  );
}
