// What a policy makes of the held-out pairs: the objective, the field's reward metrics, and each pair's
// log-probabilities, whose distributions people look at (under DPO the chosen one sinks).

import type { Engine, TrainPair } from './engine/engine.ts';

export type Evaluation = {
  metrics: Record<string, number>;
  /** mean log-probability per token of each pair's responses */
  logps: { chosen: number[]; rejected: number[] };
};

export async function evaluatePolicy(engine: Engine, pairs: TrainPair[]): Promise<Evaluation> {
  const report = await engine.evaluate(pairs);
  const scores = await engine.score(pairs.flatMap((pair) => [pair.chosen, pair.rejected]));
  const means = scores.map((logps) => logps.reduce((sum, value) => sum + value, 0) / Math.max(1, logps.length));
  return {
    metrics: { loss: report.loss, ...report.metrics },
    logps: {
      chosen: pairs.map((_, at) => means[2 * at]!),
      rejected: pairs.map((_, at) => means[2 * at + 1]!),
    },
  };
}
