// Accumulates the report of a step from the outputs of its micro-batches.
import type { PackedBatch } from './batch.ts';
import type { PairOutcome, StepReport, TrainPair } from './engine.ts';
import { countInputTokens } from './packing.ts';

export class StepMetrics {
  private readonly reduction: 'mean' | 'sum';
  /** False for a reward, which has no log-probabilities. */
  private readonly hasLogps: boolean;
  private pairs = 0;
  private tokens = 0;
  private loss = 0;
  private weight = 0;
  private readonly sums = new Map<string, number>();

  constructor(reduction: 'mean' | 'sum', hasLogps: boolean) {
    this.reduction = reduction;
    this.hasLogps = hasLogps;
  }

  /** Adds the outputs of a micro-batch of these pairs and returns the outcome of each. */
  add(pairs: TrainPair[], batch: PackedBatch, outputs: ReadonlyMap<string, Float32Array>): PairOutcome[] {
    const logps = outputs.get('logps')!;
    return pairs.map((pair, i) => {
      const chosen = this.sumTokens(logps, batch.responseStarts[i]!, pair.refChosenLogps);
      const rejected = this.sumTokens(logps, batch.responseStarts[batch.bucket.P + i]!, pair.refRejectedLogps);
      const loss = outputs.get('losses')![i]!;
      this.pairs++;
      this.tokens += countInputTokens(pair.chosen) + countInputTokens(pair.rejected);
      const { weight = 1 } = pair;
      this.loss += weight * loss;
      this.weight += weight;
      this.addMetric('rewards/chosen', chosen.logRatio);
      this.addMetric('rewards/rejected', rejected.logRatio);
      this.addMetric('rewards/margins', chosen.logRatio - rejected.logRatio);
      this.addMetric('rewards/accuracies', chosen.logRatio > rejected.logRatio ? 1 : 0);
      if (this.hasLogps) this.addMetric('logps/chosen', chosen.logp);
      if (this.hasLogps) this.addMetric('logps/rejected', rejected.logp);
      this.addMetric('capped', outputs.get('capped')![i]!);
      return {
        loss,
        chosenLogRatio: chosen.logRatio,
        rejectedLogRatio: rejected.logRatio,
        chosenLogp: chosen.logp,
        rejectedLogp: rejected.logp,
      };
    });
  }

  report(): Omit<StepReport, 'computedTokens'> {
    const { pairs, tokens } = this;
    if (pairs === 0) return { loss: 0, gradNorm: 0, tokens, pairs, metrics: {} };
    const metrics = Object.fromEntries(Array.from(this.sums, ([name, sum]) => [name, sum / pairs]));
    return { loss: this.loss / this.weight, gradNorm: 0, tokens, pairs, metrics };
  }

  private addMetric(name: string, value: number): void {
    this.sums.set(name, (this.sums.get(name) ?? 0) + value);
  }

  private sumTokens(logps: Float32Array, start: number, refLogps: Float32Array): { logp: number; logRatio: number } {
    let logp = 0;
    let logRatio = 0;
    for (const [j, refLogp] of refLogps.entries()) {
      logp += logps[start + j]!;
      logRatio += logps[start + j]! - refLogp;
    }
    return { logp, logRatio: this.reduction === 'mean' ? logRatio / refLogps.length : logRatio };
  }
}
