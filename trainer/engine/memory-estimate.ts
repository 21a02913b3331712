// Estimates the memory of training before it is allocated: weights, gradient and moments, the activations that a
// micro-batch keeps for its backward pass, and the rows of the output layer. Chooses the size of a micro-batch, and
// rejects a policy that cannot fit.
import { kvBytesPerRow } from '../../shared/decoder/kv-cache.ts';
import { AttuneError } from '../../shared/error.ts';
import { type Architecture, weightShapes } from '../../shared/model/architecture.ts';
import { kvBytesPerPosition } from '../../shared/onnx/kv-format.ts';
import type { Settings } from '../../shared/settings.ts';
import { type LoraConfig, trainableShapes } from './lora.ts';
import type { MicroBatchShape } from './packing.ts';
import type { ProgramKind } from './programs.ts';
import { sizeOf } from './trace/symbolic-tensor.ts';

const MiB = 2 ** 20;

/**
 * What an engine holds, fitted to the peaks of random policies of 4 to 30 layers (docs/LOG.md). `processBytes`: thread,
 * libraries and graphs. `copies`: of a trained parameter, which are the parameter, its gradient, two moments, and what is
 * copied to update it. `tables`: of the embedding table's size, for its gradient. `activations` and `logits`: factors of
 * the tensors that are counted for a layer and for the output layer, of programs with and without a backward pass.
 */
const COSTS = {
  onnx: {
    processBytes: 120 * MiB,
    copies: 5,
    frozenCopies: 1,
    tables: 2,
    step: { activations: 1.04, logits: 1 },
    forward: { activations: 1.04, logits: 2 },
  },
  // Its eager operations keep every intermediate result until the program ends.
  tensorflow: {
    processBytes: 360 * MiB,
    copies: 7,
    frozenCopies: 4,
    tables: 12.5,
    step: { activations: 4.1, logits: 0.5 },
    forward: { activations: 1.2, logits: 3 },
  },
} as const;
/** A policy that is read from its checkpoint leaves a third of it in pages that the process reuses but does not return. */
const SCORING_COPIES = 1.3;
/**
 * Beside a scoring engine while policies are sampled from and compared: one that is read or copied and written as a graph,
 * the graph's pages and packed matrices, and pages that the process does not return. Publishing has no second engine.
 */
const SERVING_COPIES = 5;
const PUBLISHING_COPIES = 3.5;
/** Rows of the output layer's vocabulary that a program without a backward pass holds at once; see model/head.ts. */
const FORWARD_CHUNK_ROWS = 8192;
/** Larger micro-batches are no faster on a CPU; see docs/LOG.md. */
const MAX_MICRO_BATCH_TOKENS = 1024;
const MIN_MICRO_BATCH_TOKENS = 128;
const TYPICAL_SEQUENCE_TOKENS = 512;
/** More rows are no faster on a CPU. */
const MAX_ROLLOUT_ROWS = 64;
/** The default budget is never below this, even if other processes fill the memory at the moment. */
const MIN_BUDGET_BYTES = 2 ** 30;

export type MemoryOptions = {
  architecture: Architecture;
  lora?: LoraConfig | null;
  /** No gradient is computed: only weights are held. */
  scoreOnly?: boolean;
  /** Default: onnx. */
  engine?: Settings['ENGINE'];
};

/** Bytes that training may use. Default: half of free memory. */
export function resolveMemoryBudget(settingBytes: number | undefined): number {
  return settingBytes ?? Math.max(MIN_BUDGET_BYTES, process.availableMemory() / 2);
}

/** Bytes that an engine holds, independent of the batches. */
export function estimateParameters(options: MemoryOptions): number {
  const { architecture, lora, scoreOnly } = options;
  const { processBytes, copies, frozenCopies, tables } = costsOf(options);
  const weightBytes = countWeightBytes(options);
  if (scoreOnly) return processBytes + SCORING_COPIES * weightBytes;
  const frozenBytes = lora ? frozenCopies * weightBytes : 0;
  const trainedBytes = copies * 4 * countElements(trainableShapes(architecture, lora));
  return processBytes + frozenBytes + trainedBytes + tables * 4 * architecture.vocabSize * architecture.hiddenSize;
}

/** Bytes while an engine reads its checkpoint: what was read and what it is loaded into. */
export function estimateOpening(options: MemoryOptions): number {
  return costsOf(options).processBytes + 2 * countWeightBytes(options);
}

/** Bytes that a program holds at its peak in addition to the parameters. Its session keeps them for the next run. */
export function estimateRun(options: MemoryOptions, kind: ProgramKind, { S, T, R }: MicroBatchShape): number {
  const { architecture: a, lora, engine } = options;
  const { activations, logits } = costsOf(options)[kind === 'step' ? 'step' : 'forward'];
  const isEager = engine === 'tensorflow';
  const vocabulary = a.output === 'reward' ? 1 : a.vocabSize;
  const columns = kind === 'step' || isEager ? vocabulary : Math.min(vocabulary, FORWARD_CHUNK_ROWS);
  const head = kind === 'logits' ? 2 * S * T * vocabulary : logits * R * columns;
  const heads = (a.heads + 2 * a.kvHeads) * a.headDim;
  const adapters = lora ? 7 * lora.rank : 0;
  const layer = S * T * (6 * a.hiddenSize + 2 * heads + 4 * a.intermediateSize + a.heads * T + adapters);
  const bytes = 4 * (head + activations * layer * (kind === 'step' || isEager ? a.layers : 1));
  // The gradient of the embedding table is summed when the activations are free again.
  return kind === 'step' ? Math.max(bytes, 4 * 1.2 * a.vocabSize * a.hiddenSize) : bytes;
}

/** The micro-batches of steps, and of evaluations and scores. */
type RoundShapes = { step: MicroBatchShape[]; forward: MicroBatchShape[] };

/** Bytes at the peak of an engine that runs these micro-batches. */
export function estimateEngine(options: MemoryOptions, shapes: RoundShapes): number {
  const largest = (kind: ProgramKind) =>
    shapes[kind === 'step' ? 'step' : 'forward'].reduce(
      (bytes, shape) => Math.max(bytes, estimateRun(options, kind, shape)),
      0,
    );
  const parameters = estimateParameters(options);
  if (options.scoreOnly) return Math.max(estimateOpening(options), parameters + largest('score'));
  const [step, evaluate] = [largest('step'), largest('evaluate')];
  // ONNX Runtime's sessions keep their memory, TensorFlow's operations share it.
  return parameters + (options.engine === 'tensorflow' ? Math.max(step, evaluate) : step + evaluate);
}

type StageOptions = {
  shapes: RoundShapes;
  /** Which scores too. */
  reward: MemoryOptions | null;
  sampling: Sampling[];
};

/** Responses of up to `maxTokens`, with their prompts, that are sampled together. */
type Sampling = { rows: number; maxTokens: number };

/** Bytes at the peak of each stage of a round that trains this model. */
export function estimateStages(
  options: MemoryOptions,
  { shapes, reward, sampling }: StageOptions,
): Record<string, number> {
  const scorer = { ...options, lora: null, scoreOnly: true };
  const training = estimateEngine(options, shapes);
  const publishing = estimateParameters(scorer) + PUBLISHING_COPIES * countWeightBytes(options);
  if (options.architecture.output === 'reward') return { training, publishing };
  const scoring = estimateEngine(scorer, shapes);
  return {
    scoring: Math.max(scoring, reward ? estimateEngine({ ...reward, lora: null, scoreOnly: true }, shapes) : 0),
    sampling: sampling.reduce(
      (bytes, each) => Math.max(bytes, estimateSampler(options) + estimateRows(options, each)),
      0,
    ),
    training,
    // The candidate and the root score what was sampled, in one process.
    evaluating: 2 * scoring - costsOf(options).processBytes,
    publishing,
  };
}

/** Bytes while an engine that trains waits for responses of its policy, and then for the root to score them. */
export function estimateSamplingInTraining(options: MemoryOptions, shapes: RoundShapes, sampling: Sampling): number {
  const responses = SERVING_COPIES * countWeightBytes(options) + estimateRows(options, sampling);
  const root = estimateEngine({ ...options, lora: null, scoreOnly: true }, shapes) - costsOf(options).processBytes;
  return estimateEngine(options, shapes) + Math.max(responses, root);
}

/** Bytes while a policy is sampled from beside a scoring engine, without the rows. */
function estimateSampler(options: MemoryOptions): number {
  return estimateParameters({ ...options, lora: null, scoreOnly: true }) + SERVING_COPIES * countWeightBytes(options);
}

function estimateRows(options: MemoryOptions, { rows, maxTokens }: Sampling): number {
  return rows * kvBytesPerRow(rolloutKvBytes(options), maxTokens);
}

/** Rollouts are sampled at float32. */
function rolloutKvBytes({ architecture }: MemoryOptions): number {
  return kvBytesPerPosition(architecture, 'float32');
}

/** The responses, of up to `maxTokens` with their prompts, that can be sampled together in a budget of bytes: at least one. */
export function chooseRolloutRows(options: MemoryOptions, maxTokens: number, memoryBytes: number): number {
  const rows = Math.floor((memoryBytes - estimateSampler(options)) / kvBytesPerRow(rolloutKvBytes(options), maxTokens));
  return Math.min(MAX_ROLLOUT_ROWS, Math.max(1, rows));
}

/**
 * Tokens of a micro-batch for a budget of bytes. Throws `too_little_memory` if the longest pair or the smallest
 * micro-batch does not fit.
 */
export function chooseMicroBatchTokens(
  options: MemoryOptions & { maxSequenceTokens?: number },
  memoryBytes: number,
): number {
  // Assumes that nearly all tokens are response tokens.
  const estimateRows = (S: number, T: number) => {
    const shapes = [{ S, T, R: S * T }];
    return estimateEngine(options, { step: shapes, forward: shapes });
  };
  const pairBytes = estimateRows(2, options.maxSequenceTokens ?? 0);
  if (pairBytes > memoryBytes) throw insufficientMemory(pairBytes, memoryBytes);
  for (let tokens = MAX_MICRO_BATCH_TOKENS; ; tokens /= 2) {
    const length = Math.min(tokens, TYPICAL_SEQUENCE_TOKENS);
    const neededBytes = estimateRows(tokens / length, length);
    if (neededBytes <= memoryBytes) return tokens;
    if (tokens <= MIN_MICRO_BATCH_TOKENS) throw insufficientMemory(neededBytes, memoryBytes);
  }
}

export function insufficientMemory(neededBytes: number, memoryBytes: number, stage = 'training'): AttuneError {
  const inGiB = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  // Adapters and shorter pairs hardly change what the other stages need.
  const remedy = stage === 'training' ? 'set LORA_RANK, MAX_LENGTH or TRAIN_MEMORY' : 'raise TRAIN_MEMORY';
  return new AttuneError(
    `trainer: ${stage} this policy needs about ${inGiB(neededBytes)}, but its limit is ${inGiB(memoryBytes)} (TRAIN_MEMORY; default: half of free memory); ${remedy}, or choose a smaller policy`,
    { code: 'too_little_memory' },
  );
}

function costsOf({ engine }: MemoryOptions): (typeof COSTS)['onnx' | 'tensorflow'] {
  return COSTS[engine === 'tensorflow' ? 'tensorflow' : 'onnx'];
}

function countWeightBytes({ architecture }: MemoryOptions): number {
  return 4 * countElements(weightShapes(architecture));
}

function countElements(shapes: ReadonlyMap<string, number[]>): number {
  let count = 0;
  for (const shape of shapes.values()) count += sizeOf(shape);
  return count;
}
