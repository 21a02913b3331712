// Times a few runs of a policy on this machine: a step, an evaluation, a checkpoint, and decoding.
import path from 'node:path';
import type { Engine, Sequence, TrainPair } from '../engine/engine.ts';
import type { RolloutRequest } from '../evaluation/rollouts.ts';

/** Seconds. */
export type EngineSpeed = {
  /** Until the engine has its weights and the graph of a forward pass. */
  opening: number;
  /** The graph of a step. */
  building: number;
  evaluate: number;
  step: number;
  save: number;
};

/** Seconds. */
export type DecodingSpeed = {
  /** Until the serving graph is written and loaded. */
  opening: number;
  /** The prompts of the rows. */
  prefill: number;
  /** One token for each row. */
  step: number;
};

/** Closes the engine. */
export async function measureEngine(
  open: () => Promise<Engine>,
  batch: TrainPair[],
  folder: string,
): Promise<EngineSpeed> {
  const { result: engine, seconds: opening } = await time(open);
  try {
    const evaluate = await timeTwice(() => engine.evaluate(batch));
    // A learning rate of zero takes as long as another.
    const step = await timeTwice(() => engine.step(batch, 0));
    const { seconds: save } = await time(() => engine.save(path.join(folder, 'state.safetensors')));
    return {
      opening: opening + evaluate.extra,
      building: step.extra,
      evaluate: evaluate.seconds,
      step: step.seconds,
      save,
    };
  } finally {
    await engine.close();
  }
}

const TIMED_TOKENS = 12;

/** `sample` opens the policy, samples and closes it. */
export async function measureDecoding(
  sample: (requests: RolloutRequest[]) => Promise<Sequence[]>,
  requests: RolloutRequest[],
): Promise<DecodingSpeed> {
  const limit = (tokens: number) =>
    requests.map((request) => ({ ...request, maxTokens: Math.min(tokens, request.maxTokens) }));
  const { seconds: opening } = await time(() => sample(limit(1).slice(0, 1)));
  const { seconds: first } = await time(() => sample(limit(1)));
  const { seconds, result } = await time(() => sample(limit(TIMED_TOKENS)));
  const steps = Math.max(1, ...result.map(({ responseIds }) => responseIds.length - 1));
  return { opening, prefill: Math.max(0, first - opening), step: Math.max(0, seconds - first) / steps };
}

/** The second run's time, and what the first one took besides. */
async function timeTwice(work: () => Promise<unknown>): Promise<{ seconds: number; extra: number }> {
  const first = await time(work);
  const { seconds } = await time(work);
  return { seconds, extra: Math.max(0, first.seconds - seconds) };
}

async function time<Result>(work: () => Promise<Result>): Promise<{ result: Result; seconds: number }> {
  const startedAt = performance.now();
  const result = await work();
  return { result, seconds: (performance.now() - startedAt) / 1000 };
}
