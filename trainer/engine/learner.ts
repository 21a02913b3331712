// An engine's work as it happens in its thread: batches in, programs run, gradients accumulated, one AdamW step.
import { type Architecture, weightShapes } from '../../shared/policy/architecture.ts';
import { readSafetensors, type Weights, writeSafetensors } from '../../shared/policy/safetensors.ts';
import type { ObjectiveSettings } from '../objectives.ts';
import { bucketSize, checkSequence, inputLength, type PackedBatch, packSequences, planGroups } from './batch.ts';
import type { OptimizerSettings, Sequence, StepReport, TrainPair } from './engine.ts';
import { type ArrayName, FlatParameters } from './flat.ts';
import { gradientName } from './programs.ts';
import { type Arrays, Sessions } from './sessions.ts';
import { checkPair, Tally } from './tally.ts';

export type LearnerOptions = {
  architecture: Architecture;
  weights: Weights;
  objective: ObjectiveSettings;
  optimizer: OptimizerSettings;
  threads: number;
  microBatchTokens: number;
};

export class Learner {
  private readonly options: Omit<LearnerOptions, 'weights'>;
  private readonly parameters: FlatParameters;
  private readonly sessions: Sessions;

  constructor({ weights, ...options }: LearnerOptions) {
    this.options = options;
    this.parameters = new FlatParameters(weightShapes(options.architecture));
    this.parameters.load('weight', weights);
    this.sessions = new Sessions(options.architecture, options.objective, options.threads);
  }

  async score(sequences: Sequence[]): Promise<Float32Array[]> {
    for (const [i, sequence] of sequences.entries())
      checkSequence(sequence, this.options.architecture, `score: sequence ${i}`);
    const scores: Float32Array[] = new Array(sequences.length);
    for (const group of planGroups(sequences.map(inputLength), 1, this.options.microBatchTokens)) {
      const batch = packSequences(padded(group.map((i) => sequences[i]!)), 'sum');
      const outputs = await this.sessions.run('score', batch.bucket, this.inputsOf(batch));
      for (const [row, i] of group.entries()) {
        const start = batch.starts[row]!;
        scores[i] = outputs.get('logps')!.slice(start, start + sequences[i]!.responseIds.length);
      }
    }
    return scores;
  }

  async evaluate(pairs: TrainPair[]): Promise<StepReport> {
    return (await this.runPairs('evaluate', pairs)).report();
  }

  /** A gradient that is not finite is reported as its norm and changes nothing. */
  async step(pairs: TrainPair[], learningRate: number): Promise<StepReport> {
    const tally = await this.runPairs('step', pairs);
    if (pairs.length === 0) return tally.report();
    const { optimizer } = this.options;
    const norm = this.parameters.gradientNorm();
    // One infinite gradient would make every weight NaN, for good.
    if (!Number.isFinite(norm)) return { ...tally.report(), gradNorm: norm };
    const scale = norm > optimizer.maxGradNorm ? optimizer.maxGradNorm / norm : 1;
    this.parameters.update(scale, learningRate, optimizer);
    return { ...tally.report(), gradNorm: norm };
  }

  async logits(ids: number[]): Promise<Float32Array> {
    const { architecture } = this.options;
    const sequence = { promptIds: ids, responseIds: [0] };
    checkSequence(sequence, architecture, 'logits');
    const batch = packSequences([sequence], 'sum');
    const outputs = await this.sessions.run('logits', batch.bucket, this.inputsOf(batch));
    return outputs.get('logits')!.slice(0, ids.length * architecture.vocabSize);
  }

  weights(): Weights {
    return this.parameters.copy('weight');
  }

  async save(path: string): Promise<void> {
    const state = new Map([
      ...this.parameters.copy('weight'),
      ...this.parameters.copy('first', FIRST),
      ...this.parameters.copy('second', SECOND),
    ]);
    await writeSafetensors(path, state.set(STEPS, { shape: [1], data: Float32Array.of(this.parameters.steps) }));
  }

  async restore(path: string): Promise<void> {
    const state = await readSafetensors(path);
    this.parameters.load('weight', state);
    this.parameters.load('first', state, FIRST);
    this.parameters.load('second', state, SECOND);
    this.parameters.steps = state.get(STEPS)?.data[0] ?? 0;
  }

  async close(): Promise<void> {
    await this.sessions.close();
  }

  /** Runs the pairs in micro-batches; for a step, `gradient` then holds that of the mean loss. */
  private async runPairs(kind: 'evaluate' | 'step', pairs: TrainPair[]): Promise<Tally> {
    const { architecture, objective, microBatchTokens } = this.options;
    for (const [i, pair] of pairs.entries()) checkPair(pair, architecture, `${kind}: pair ${i}`);
    const tally = new Tally(objective.reduction);
    const lengths = pairs.map((pair) => Math.max(inputLength(pair.chosen), inputLength(pair.rejected)));
    for (const [i, group] of planGroups(lengths, 2, microBatchTokens).entries()) {
      const members = group.map((index) => pairs[index]!);
      const batch = packSequences(
        [...padded(members.map((pair) => pair.chosen)), ...padded(members.map((pair) => pair.rejected))],
        objective.reduction,
      );
      const inputs = this.inputsOf(batch, members, 1 / pairs.length);
      const array: ArrayName = i === 0 ? 'gradient' : 'part';
      const into = kind === 'step' ? this.gradientsInto(array) : undefined;
      const outputs = await this.sessions.run(kind, batch.bucket, inputs, into);
      if (array === 'part' && into) this.parameters.accumulate();
      tally.add(members, batch, outputs);
    }
    return tally;
  }

  private gradientsInto(array: ArrayName): Arrays {
    return new Map(
      Array.from(this.parameters.names, (name) => [gradientName(name), this.parameters.view(array, name)]),
    );
  }

  private inputsOf(batch: PackedBatch, pairs: TrainPair[] = [], share = 0): Arrays {
    const { S, T, R } = batch.bucket;
    const refs = new Float32Array(R);
    const shares = new Float32Array(Math.floor(S / 2));
    for (const [i, pair] of pairs.entries()) {
      refs.set(pair.refChosenLogps, batch.starts[i]!);
      refs.set(pair.refRejectedLogps, batch.starts[S / 2 + i]!);
      shares[i] = share;
    }
    const inputs: Arrays = new Map(
      Array.from(this.parameters.names, (name) => [name, this.parameters.view('weight', name)]),
    );
    return inputs
      .set('ids', { shape: [S, T], data: batch.ids })
      .set('positions', { shape: [R], data: batch.positions })
      .set('targets', { shape: [R], data: batch.targets })
      .set('rows', { shape: [R], data: batch.rows })
      .set('weights', { shape: [R], data: batch.weights })
      .set('refs', { shape: [R], data: refs })
      .set('shares', { shape: [shares.length], data: shares });
  }
}

const FIRST = 'adamw.first.';
const SECOND = 'adamw.second.';
const STEPS = 'adamw.steps';

/** Sequences and the empty places after them that fill their bucket. */
function padded(sequences: Sequence[]): (Sequence | null)[] {
  return [...sequences, ...Array<null>(bucketSize(sequences.length) - sequences.length).fill(null)];
}
