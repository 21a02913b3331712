// Adds up the report of a step from what its micro-batches gave out.
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { checkSequence, type PackedBatch } from './batch.ts';
import type { PairOutcome, StepReport, TrainPair } from './engine.ts';
import { inputLength } from './packing.ts';

/** Refuses a pair whose reference was scored on other tokens. */
export function checkPair(pair: TrainPair, a: Architecture, where: string): void {
  for (const [side, logps] of [
    ['chosen', pair.refChosenLogps],
    ['rejected', pair.refRejectedLogps],
  ] as const) {
    const sequence = pair[side];
    checkSequence(sequence, a, `${where}: ${side}`);
    if (logps.length !== sequence.responseIds.length)
      throw new AttuneError(
        `${where}: ${side} has ${sequence.responseIds.length} response tokens but ${logps.length} reference log-probabilities; score the reference again`,
        { code: 'invalid_pair' },
      );
  }
}

export class Tally {
  private readonly reduction: 'mean' | 'sum';
  private pairs = 0;
  private tokens = 0;
  private loss = 0;
  private readonly sums = new Map<string, number>();

  constructor(reduction: 'mean' | 'sum') {
    this.reduction = reduction;
  }

  /** Takes the outputs of a batch that held these pairs. */
  add(pairs: TrainPair[], batch: PackedBatch, outputs: ReadonlyMap<string, Float32Array>): PairOutcome[] {
    const logps = outputs.get('logps')!;
    return pairs.map((pair, i) => {
      const chosen = this.sumTokens(logps, batch.starts[i]!, pair.refChosenLogps);
      const rejected = this.sumTokens(logps, batch.starts[batch.bucket.P + i]!, pair.refRejectedLogps);
      const loss = outputs.get('losses')![i]!;
      this.pairs++;
      this.tokens += inputLength(pair.chosen) + inputLength(pair.rejected);
      this.loss += loss;
      this.count('rewards/chosen', chosen.ratio);
      this.count('rewards/rejected', rejected.ratio);
      this.count('rewards/margins', chosen.ratio - rejected.ratio);
      this.count('rewards/accuracies', chosen.ratio > rejected.ratio ? 1 : 0);
      this.count('logps/chosen', chosen.logp);
      this.count('logps/rejected', rejected.logp);
      this.count('capped', outputs.get('capped')![i]!);
      return {
        loss,
        chosenRatio: chosen.ratio,
        rejectedRatio: rejected.ratio,
        chosenLogp: chosen.logp,
        rejectedLogp: rejected.logp,
      };
    });
  }

  report(): Omit<StepReport, 'computed'> {
    const { pairs, tokens } = this;
    if (pairs === 0) return { loss: 0, gradNorm: 0, tokens, pairs, metrics: {} };
    const metrics = Object.fromEntries(Array.from(this.sums, ([name, sum]) => [name, sum / pairs]));
    return { loss: this.loss / pairs, gradNorm: 0, tokens, pairs, metrics };
  }

  private count(name: string, value: number): void {
    this.sums.set(name, (this.sums.get(name) ?? 0) + value);
  }

  private sumTokens(logps: Float32Array, start: number, refs: Float32Array): { logp: number; ratio: number } {
    let logp = 0;
    let ratio = 0;
    for (const [j, ref] of refs.entries()) {
      logp += logps[start + j]!;
      ratio += logps[start + j]! - ref;
    }
    return { logp, ratio: this.reduction === 'mean' ? ratio / refs.length : ratio };
  }
}
