// An engine's work as it happens in its thread: batches in, programs run, gradients accumulated, one AdamW step. The
// same for every device.
import type { Architecture } from '../../shared/model/architecture.ts';
import { readSafetensors, type Weights, writeSafetensors } from '../../shared/model/safetensors.ts';
import type { ObjectiveSettings } from '../objectives.ts';
import { type Arrays, checkSequence, type PackedBatch, packSequences, roundToSize } from './batch.ts';
import type { Device } from './device.ts';
import type { OptimizerSettings, PairOutcome, Sequence, StepReport, TrainPair } from './engine.ts';
import { type LoraSettings, mergeAdapters, trainableShapes } from './lora.ts';
import { estimateParameters, estimateRun, tooLittle } from './memory-estimate.ts';
import { type AttentionCost, attentionCostOf, groupByPrompt, planGroups } from './packing.ts';
import type { ProgramKind } from './programs.ts';
import { checkPair, Tally } from './step-metrics.ts';

export type LearnerOptions = {
  architecture: Architecture;
  objective: ObjectiveSettings;
  optimizer: OptimizerSettings;
  microBatchTokens: number;
  /** Bytes that training may take; no limit unless told. */
  memory?: number;
  lora?: LoraSettings | null;
  scoreOnly?: boolean;
};

export class Learner {
  private readonly device: Device;
  private readonly options: LearnerOptions;
  private readonly attention: AttentionCost;
  /** What adapters are merged into. */
  private readonly frozen: Weights;

  constructor(device: Device, options: LearnerOptions, frozen: Weights = new Map()) {
    this.device = device;
    this.options = options;
    this.attention = attentionCostOf(options.architecture);
    this.frozen = frozen;
  }

  async score(sequences: Sequence[]): Promise<Float32Array[]> {
    const { architecture, microBatchTokens } = this.options;
    for (const [i, sequence] of sequences.entries()) checkSequence(sequence, architecture, `score: sequence ${i}`);
    const scores: Float32Array[] = new Array(sequences.length);
    const items = groupByPrompt(sequences, microBatchTokens);
    const parts = items.map((item) => item.map((i) => sequences[i]!));
    for (const group of planGroups(parts, microBatchTokens, this.attention)) {
      const members = group.flatMap((at) => items[at]!);
      const batch = this.pack(this.pad(members.map((i) => sequences[i]!)), 'sum');
      if (group.length === 1) this.checkMemory('score', batch);
      const outputs = await this.device.run('score', batch.bucket, batch.arrays);
      for (const [at, i] of members.entries()) {
        const start = batch.starts[at]!;
        scores[i] = outputs.get('logps')!.slice(start, start + sequences[i]!.responseIds.length);
      }
    }
    return scores;
  }

  async evaluate(pairs: TrainPair[]): Promise<StepReport & { outcomes: PairOutcome[] }> {
    const { report, outcomes } = await this.runPairs('evaluate', pairs);
    return { ...report, outcomes };
  }

  /** A gradient that is not finite is reported as its norm and changes nothing. */
  async step(pairs: TrainPair[], learningRate: number): Promise<StepReport> {
    this.device.clearGradient();
    const { report } = await this.runPairs('step', pairs);
    if (pairs.length === 0) return report;
    const { optimizer } = this.options;
    const norm = await this.device.gradientNorm();
    // One infinite gradient would make every weight NaN, for good.
    if (!Number.isFinite(norm))
      return { ...report, gradNorm: norm, broken: report.broken ?? (await this.findBroken()) };
    const scale = norm > optimizer.maxGradNorm ? optimizer.maxGradNorm / norm : 1;
    await this.device.update(scale, learningRate, optimizer);
    return { ...report, gradNorm: norm };
  }

  async logits(ids: number[]): Promise<Float32Array> {
    const { architecture } = this.options;
    const sequence = { promptIds: ids, responseIds: [0] };
    checkSequence(sequence, architecture, 'logits');
    const batch = this.pack([sequence], 'sum');
    const outputs = await this.device.run('logits', batch.bucket, batch.arrays);
    return outputs.get('logits')!.slice(0, ids.length * architecture.vocabSize);
  }

  async weights(): Promise<Weights> {
    const { architecture, lora } = this.options;
    const trained = await this.device.copy('weight');
    return lora ? mergeAdapters(architecture, lora, this.frozen, trained) : trained;
  }

  async save(path: string): Promise<void> {
    const state = new Map([
      ...(await this.device.copy('weight')),
      ...(await this.device.copy('first', FIRST)),
      ...(await this.device.copy('second', SECOND)),
    ]);
    await writeSafetensors(path, state.set(STEPS, { shape: [1], data: Float32Array.of(this.device.steps) }));
  }

  async restore(path: string): Promise<void> {
    const state = await readSafetensors(path);
    this.device.load('weight', state);
    this.device.load('first', state, FIRST);
    this.device.load('second', state, SECOND);
    this.device.steps = state.get(STEPS)?.data[0] ?? 0;
  }

  async close(): Promise<void> {
    await this.device.close();
  }

  /** Runs the pairs in micro-batches; for a step, the device then holds the gradient of the mean loss. */
  private async runPairs(
    kind: 'evaluate' | 'step',
    pairs: TrainPair[],
  ): Promise<{ report: StepReport; outcomes: PairOutcome[] }> {
    const { architecture, objective, microBatchTokens } = this.options;
    for (const [i, pair] of pairs.entries()) checkPair(pair, architecture, `${kind}: pair ${i}`);
    const tally = new Tally(objective.reduction);
    const outcomes: PairOutcome[] = new Array(pairs.length);
    const items = pairs.map(({ chosen, rejected }) => [chosen, rejected]);
    let computed = 0;
    for (const group of planGroups(items, microBatchTokens, this.attention)) {
      const members = group.map((index) => pairs[index]!);
      const sequences = [
        ...this.pad(members.map(({ chosen }) => chosen)),
        ...this.pad(members.map(({ rejected }) => rejected)),
      ];
      const batch = this.pack(sequences, objective.reduction);
      if (group.length === 1) this.checkMemory(kind, batch);
      const outputs = await this.device.run(kind, batch.bucket, withPairs(batch, members, 1 / pairs.length));
      computed += batch.bucket.S * batch.bucket.T;
      for (const [i, outcome] of tally.add(members, batch, outputs).entries()) outcomes[group[i]!] = outcome;
    }
    const report: StepReport = { ...tally.report(), computed };
    // A product with zeros carries one pair's NaN into the losses of its neighbours, but not into their ratios.
    let broken = outcomes.findIndex((pair) => !Number.isFinite(pair.chosenRatio + pair.rejectedRatio));
    if (broken < 0) broken = outcomes.findIndex(({ loss }) => !Number.isFinite(loss));
    if (broken >= 0) report.broken = `pair ${broken}`;
    return { report, outcomes };
  }

  private pack(sequences: (Sequence | null)[], reduction: 'mean' | 'sum'): PackedBatch {
    return packSequences(sequences, { reduction, attention: this.attention, fewBuckets: this.device.fewBuckets });
  }

  /** Refuses what no smaller micro-batch would make fit. */
  private checkMemory(kind: ProgramKind, { bucket }: PackedBatch): void {
    const { memory } = this.options;
    const needed = estimateParameters(this.options) + estimateRun(this.options, kind, bucket);
    if (memory !== undefined && needed > memory) throw tooLittle(needed, memory);
  }

  /** With the empty places that fill a bucket, where there should be few. */
  private pad(sequences: Sequence[]): (Sequence | null)[] {
    const size = this.device.fewBuckets ? roundToSize(sequences.length) : sequences.length;
    return [...sequences, ...Array<null>(size - sequences.length).fill(null)];
  }

  private async findBroken(): Promise<string | undefined> {
    const { architecture, lora } = this.options;
    for (const name of trainableShapes(architecture, lora).keys())
      if (!Number.isFinite(await this.device.gradientNorm(name))) return name;
    return undefined;
  }
}

/** The batch's arrays with what only pairs have: the reference's log-probabilities, and what everything counts. */
function withPairs(batch: PackedBatch, pairs: TrainPair[], share: number): Arrays {
  const { R, P } = batch.bucket;
  const refs = new Float32Array(R);
  const shares = new Float32Array(P);
  const importance = new Float32Array(2 * P).fill(1);
  for (const [i, pair] of pairs.entries()) {
    refs.set(pair.refChosenLogps, batch.starts[i]!);
    refs.set(pair.refRejectedLogps, batch.starts[P + i]!);
    importance[i] = pair.importance?.chosen ?? 1;
    importance[P + i] = pair.importance?.rejected ?? 1;
    shares[i] = share;
  }
  return new Map(batch.arrays)
    .set('refs', { shape: [R], data: refs })
    .set('importance', { shape: [2 * P], data: importance })
    .set('shares', { shape: [P], data: shares });
}

const FIRST = 'adamw.first.';
const SECOND = 'adamw.second.';
const STEPS = 'adamw.steps';
