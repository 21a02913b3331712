// Implements the calls of an Engine on a Device, in the engine's thread: packs micro-batches, runs programs, accumulates
// gradients and runs the optimizer.
import type { Architecture } from '../../shared/model/architecture.ts';
import { readSafetensors, writeSafetensors } from '../../shared/model/safetensors.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import type { ObjectiveSettings } from '../objectives.ts';
import {
  countScores,
  type InputArrays,
  type PackedBatch,
  packResponseEnds,
  packSequences,
  roundUpToBucket,
  validatePair,
  validateSequence,
} from './batch.ts';
import type { Device, ParameterArray } from './device.ts';
import type { OptimizerSettings, PairOutcome, Sequence, StepReport, TrainPair } from './engine.ts';
import { type LoraConfig, mergeAdapters, trainableShapes } from './lora.ts';
import { estimateParameters, estimateRun, insufficientMemory } from './memory-estimate.ts';
import { type AttentionCost, estimateAttentionCost, groupByPrompt, planMicroBatches } from './packing.ts';
import type { ProgramKind } from './programs.ts';
import { StepMetrics } from './step-metrics.ts';

export type DeviceEngineOptions = {
  architecture: Architecture;
  objective: ObjectiveSettings;
  optimizer: OptimizerSettings;
  microBatchTokens: number;
  /** Bytes that training may use. Default: no limit. */
  memoryBytes?: number;
  lora?: LoraConfig | null;
  scoreOnly?: boolean;
  /** Which of them the device is: each needs another amount of memory. */
  engine?: 'onnx' | 'tensorflow';
};

/** The arrays in a file of the training state, and the prefix of their tensors' names. */
const STORED_ARRAYS: [ParameterArray, prefix: string][] = [
  ['weight', ''],
  ['firstMoment', 'adamw.first.'],
  ['secondMoment', 'adamw.second.'],
];
const STEP_COUNT_KEY = 'adamw.steps';

export class DeviceEngine {
  private readonly device: Device;
  private readonly options: DeviceEngineOptions;
  private readonly attentionCost: AttentionCost;
  /** The base weights that adapters are merged into. */
  private readonly frozen: Weights;

  constructor(device: Device, options: DeviceEngineOptions, frozen: Weights = new Map()) {
    this.device = device;
    this.options = options;
    this.attentionCost = estimateAttentionCost(options.architecture);
    this.frozen = frozen;
  }

  async score(sequences: Sequence[]): Promise<Float32Array[]> {
    const { architecture, microBatchTokens } = this.options;
    for (const [i, sequence] of sequences.entries()) validateSequence(sequence, architecture, `score: sequence ${i}`);
    const scores: Float32Array[] = new Array(sequences.length);
    const groups = groupByPrompt(sequences, microBatchTokens);
    const items = groups.map((group) => group.map((i) => sequences[i]!));
    for (const microBatch of planMicroBatches(items, microBatchTokens, this.attentionCost)) {
      const members = microBatch.flatMap((item) => groups[item]!);
      const batch = this.pack(this.padToBucket(members.map((i) => sequences[i]!)), 'sum');
      if (microBatch.length === 1) this.assertFitsMemory('score', batch);
      const outputs = await this.device.run('score', batch.bucket, batch.arrays);
      for (const [at, i] of members.entries()) {
        const start = batch.responseStarts[at]!;
        scores[i] = outputs.get('logps')!.slice(start, start + countScores(sequences[i]!, architecture));
      }
    }
    return scores;
  }

  async evaluate(pairs: TrainPair[]): Promise<StepReport & { outcomes: PairOutcome[] }> {
    const { report, outcomes } = await this.runMicroBatches('evaluate', pairs);
    return { ...report, outcomes };
  }

  /** A gradient that is not finite is reported in `gradNorm` and changes no weight. */
  async step(pairs: TrainPair[], learningRate: number): Promise<StepReport> {
    if (this.options.scoreOnly) throw new Error('internal: engine: a step, but it was opened for scores only');
    this.device.zeroGradient();
    const { report } = await this.runMicroBatches('step', pairs);
    if (pairs.length === 0) return report;
    const { optimizer } = this.options;
    const norm = await this.device.gradientNorm();
    // A step with one infinite gradient would make every weight NaN.
    if (!Number.isFinite(norm))
      return { ...report, gradNorm: norm, nonFinite: report.nonFinite ?? (await this.findNonFiniteParameter()) };
    const scale = norm > optimizer.maxGradNorm ? optimizer.maxGradNorm / norm : 1;
    await this.device.optimizerStep(scale, learningRate, optimizer);
    return { ...report, gradNorm: norm };
  }

  async logits(ids: number[]): Promise<Float32Array> {
    const { architecture } = this.options;
    const sequence = { promptIds: ids, responseIds: [0] };
    validateSequence(sequence, architecture, 'logits');
    const batch = this.pack([sequence], 'sum');
    const outputs = await this.device.run('logits', batch.bucket, batch.arrays);
    return outputs.get('logits')!.slice(0, ids.length * architecture.vocabSize);
  }

  async weights(): Promise<Weights> {
    const { architecture, lora } = this.options;
    const trained = await this.device.copy('weight');
    if (!lora) return trained;
    const merged = mergeAdapters(architecture, lora, this.frozen, trained);
    for (const [name, { shape, data }] of merged)
      if (data === this.frozen.get(name)?.data) merged.set(name, { shape, data: data.slice() });
    return merged;
  }

  async save(path: string): Promise<void> {
    const state: Weights = new Map();
    for (const [array, prefix] of STORED_ARRAYS)
      for (const [name, tensor] of await this.device.read(array, prefix)) state.set(name, tensor);
    state.set(STEP_COUNT_KEY, { shape: [1], data: Float32Array.of(this.device.optimizerSteps) });
    await writeSafetensors(path, state);
  }

  async restore(path: string): Promise<void> {
    const { architecture, lora } = this.options;
    // One array at a time, because all three are three times the policy.
    for (const [array, prefix] of STORED_ARRAYS) {
      const names = Array.from(trainableShapes(architecture, lora).keys(), (name) => prefix + name);
      this.device.load(array, await readSafetensors(path, { names }), prefix);
    }
    const counts = await readSafetensors(path, { names: [STEP_COUNT_KEY] });
    this.device.optimizerSteps = counts.get(STEP_COUNT_KEY)!.data[0]!;
  }

  async close(): Promise<void> {
    await this.device.close();
  }

  /** Runs the pairs in micro-batches. After a `step`, the device holds the gradient of the mean loss. */
  private async runMicroBatches(
    kind: 'evaluate' | 'step',
    pairs: TrainPair[],
  ): Promise<{ report: StepReport; outcomes: PairOutcome[] }> {
    const { architecture, objective, microBatchTokens } = this.options;
    for (const [i, pair] of pairs.entries()) validatePair(pair, architecture, `${kind}: pair ${i}`);
    const metrics = new StepMetrics(objective.reduction, architecture.output === 'logits');
    const outcomes: PairOutcome[] = new Array(pairs.length);
    const items = pairs.map(({ chosen, rejected }) => [chosen, rejected]);
    const totalWeight = pairs.reduce((sum, { weight = 1 }) => sum + weight, 0);
    let computedTokens = 0;
    for (const microBatch of planMicroBatches(items, microBatchTokens, this.attentionCost)) {
      const members = microBatch.map((index) => pairs[index]!);
      const sequences = [
        ...this.padToBucket(members.map(({ chosen }) => chosen)),
        ...this.padToBucket(members.map(({ rejected }) => rejected)),
      ];
      const batch = this.pack(sequences, objective.reduction);
      if (microBatch.length === 1) this.assertFitsMemory(kind, batch);
      const outputs = await this.device.run(kind, batch.bucket, addPairArrays(batch, members, totalWeight));
      computedTokens += batch.bucket.S * batch.bucket.T;
      for (const [i, outcome] of metrics.add(members, batch, outputs).entries()) outcomes[microBatch[i]!] = outcome;
    }
    const report: StepReport = { ...metrics.report(), computedTokens };
    // The NaN of one pair also reaches the losses of other pairs (0 · NaN in a matrix product), but not their log-ratios.
    let index = outcomes.findIndex((pair) => !Number.isFinite(pair.chosenLogRatio + pair.rejectedLogRatio));
    if (index < 0) index = outcomes.findIndex(({ loss }) => !Number.isFinite(loss));
    if (index >= 0) report.nonFinite = `pair ${index}`;
    return { report, outcomes };
  }

  private pack(sequences: (Sequence | null)[], reduction: 'mean' | 'sum'): PackedBatch {
    const { attentionCost, device } = this;
    const pack = this.options.architecture.output === 'reward' ? packResponseEnds : packSequences;
    return pack(sequences, { reduction, attentionCost, useShapeBuckets: device.usesShapeBuckets });
  }

  /** For a batch of one item, which cannot be split into smaller micro-batches. */
  private assertFitsMemory(kind: ProgramKind, { bucket }: PackedBatch): void {
    const { memoryBytes } = this.options;
    const neededBytes = estimateParameters(this.options) + estimateRun(this.options, kind, bucket);
    if (memoryBytes !== undefined && neededBytes > memoryBytes) throw insufficientMemory(neededBytes, memoryBytes);
  }

  /** Appends padding up to the size of a shape bucket, for a device that uses them. */
  private padToBucket(sequences: Sequence[]): (Sequence | null)[] {
    const size = this.device.usesShapeBuckets ? roundUpToBucket(sequences.length) : sequences.length;
    return [...sequences, ...Array<null>(size - sequences.length).fill(null)];
  }

  private async findNonFiniteParameter(): Promise<string | undefined> {
    const { architecture, lora } = this.options;
    for (const name of trainableShapes(architecture, lora).keys())
      if (!Number.isFinite(await this.device.gradientNorm(name))) return name;
    return undefined;
  }
}

/**
 * Adds the arrays that only pairs have: reference log-probabilities [R], importance [2P], reward margins [P] and pair
 * weights [P].
 */
function addPairArrays(batch: PackedBatch, pairs: TrainPair[], totalWeight: number): InputArrays {
  const { R, P } = batch.bucket;
  const refLogps = new Float32Array(R);
  const pairWeights = new Float32Array(P);
  const importance = new Float32Array(2 * P).fill(1);
  const rewardMargins = new Float32Array(P);
  for (const [i, pair] of pairs.entries()) {
    refLogps.set(pair.refChosenLogps, batch.responseStarts[i]!);
    refLogps.set(pair.refRejectedLogps, batch.responseStarts[P + i]!);
    importance[i] = pair.importance?.chosen ?? 1;
    importance[P + i] = pair.importance?.rejected ?? 1;
    rewardMargins[i] = pair.rewardMargin ?? 0;
    pairWeights[i] = (pair.weight ?? 1) / totalWeight;
  }
  return new Map(batch.arrays)
    .set('refLogps', { shape: [R], data: refLogps })
    .set('importance', { shape: [2 * P], data: importance })
    .set('rewardMargins', { shape: [P], data: rewardMargins })
    .set('pairWeights', { shape: [P], data: pairWeights });
}
