// DIL optimization steps with Attune's engine, opened as the trainer opens it.
import { freemem } from 'node:os';
import { readCheckpoint } from '../../../shared/model/checkpoint.ts';
import { openEngine } from '../../../trainer/engine/open-engine.ts';
import { toTrainPair } from '../train-pairs.ts';
import type { StepsOutcome, StepsPlan } from '../train-steps.ts';
import { handleTrainingPlan, measureOtherCores } from './peer.ts';

handleTrainingPlan(async (plan: StepsPlan): Promise<Omit<StepsOutcome, 'peakBytes'>> => {
  const { architecture, weights } = await readCheckpoint(plan.source);
  const engine = await openEngine({
    architecture,
    weights,
    objective: { objective: 'lsif', reduction: 'mean' },
    // TensorFlow takes more than the default limit at 135M.
    ...(plan.variant === 'tensorflow' ? { engine: 'tensorflow', memoryBytes: freemem() } : { engine: 'onnx' }),
    threads: plan.threads,
  });
  const pairs = plan.pairs.map(({ refs, ...pair }) => toTrainPair(pair, refs));
  const loadSeconds = performance.now() / 1000;
  const step = async () => {
    const started = performance.now();
    const { loss, gradNorm, computedTokens: computed } = await engine.step(pairs, plan.learningRate);
    return { loss, gradNorm, computed, seconds: (performance.now() - started) / 1000 };
  };
  const warm = [];
  for (let at = 0; at < plan.warmUp; at++) warm.push(await step());
  const stopMeasuring = measureOtherCores([process.pid]);
  const steps = [];
  for (let at = 0; at < plan.steps; at++) steps.push(await step());
  const otherCores = stopMeasuring();
  await engine.close();
  return { warm, steps, otherCores, loadSeconds };
});
