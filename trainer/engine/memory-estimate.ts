// Estimates the memory of training before it is allocated: weights, gradient and moments, the activations that a
// micro-batch keeps for its backward pass, and the rows of the output layer. Chooses the size of a micro-batch, and
// rejects a policy that cannot fit.
import { AttuneError } from '../../shared/error.ts';
import { type Architecture, weightShapes } from '../../shared/model/architecture.ts';
import type { ShapeBucket } from './batch.ts';
import { type LoraConfig, trainableShapes } from './lora.ts';
import type { ProgramKind } from './programs.ts';
import { sizeOf } from './trace/symbolic-tensor.ts';

/** Node, ONNX Runtime and the traced graphs of a small policy. */
const PROCESS_BYTES = 350 * 2 ** 20;
/** Larger micro-batches are no faster on a CPU; see docs/LOG.md. */
const MAX_MICRO_BATCH_TOKENS = 1024;
const MIN_MICRO_BATCH_TOKENS = 128;
const TYPICAL_SEQUENCE_TOKENS = 512;
/** The default budget is never below this, even if other processes fill the memory at the moment. */
const MIN_BUDGET_BYTES = 2 ** 30;

export type MemoryOptions = {
  architecture: Architecture;
  lora?: LoraConfig | null;
  /** No gradient is computed: only weights are held. */
  scoreOnly?: boolean;
};

/** Bytes that training may use. Default: half of free memory. */
export function resolveMemoryBudget(settingBytes: number | undefined): number {
  return settingBytes ?? Math.max(MIN_BUDGET_BYTES, process.availableMemory() / 2);
}

/** Bytes that an engine holds, independent of the batches. */
export function estimateParameters({ architecture, lora, scoreOnly }: MemoryOptions): number {
  const weights = countElements(weightShapes(architecture));
  // Also counted: the checkpoint as it was read, and a copy of the outputs that is not garbage-collected yet.
  if (scoreOnly) return PROCESS_BYTES + 4 * 2 * weights;
  if (!lora) return PROCESS_BYTES + 4 * 6 * weights;
  return PROCESS_BYTES + 4 * (2 * weights + 7 * countElements(trainableShapes(architecture, lora)));
}

/** Bytes that a program holds at its peak in addition to the parameters. */
export function estimateRun(options: MemoryOptions, kind: ProgramKind, { S, T, R }: Omit<ShapeBucket, 'P'>): number {
  const { architecture: a, lora } = options;
  const head = (kind === 'step' ? 3 : 2) * (kind === 'logits' ? S * T : R) * (a.output === 'reward' ? 1 : a.vocabSize);
  const heads = (a.heads + 2 * a.kvHeads) * a.headDim;
  const adapters = lora ? 7 * lora.rank : 0;
  const layer = S * T * (6 * a.hiddenSize + 2 * heads + 4 * a.intermediateSize + a.heads * T + adapters);
  return 4 * (head + layer * (kind === 'step' ? a.layers : 1));
}

/**
 * Tokens of a micro-batch for a budget of bytes. Throws `too_little_memory` if the longest pair or the smallest
 * micro-batch does not fit.
 */
export function chooseMicroBatchTokens(
  options: MemoryOptions & { maxSequenceTokens?: number },
  memoryBytes: number,
): number {
  const fixedBytes = estimateParameters(options);
  const pairBytes = fixedBytes + estimateRows(options, 2, options.maxSequenceTokens ?? 0);
  if (pairBytes > memoryBytes) throw insufficientMemory(pairBytes, memoryBytes);
  let tokens = MAX_MICRO_BATCH_TOKENS;
  for (;;) {
    const length = Math.min(tokens, TYPICAL_SEQUENCE_TOKENS);
    const neededBytes = fixedBytes + estimateRows(options, tokens / length, length);
    if (neededBytes <= memoryBytes) return tokens;
    if (tokens <= MIN_MICRO_BATCH_TOKENS) throw insufficientMemory(neededBytes, memoryBytes);
    tokens /= 2;
  }
}

export function insufficientMemory(neededBytes: number, memoryBytes: number): AttuneError {
  const inGiB = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return new AttuneError(
    `trainer: training this policy needs about ${inGiB(neededBytes)}, but its limit is ${inGiB(memoryBytes)} (TRAIN_MEMORY; default: half of free memory); set LORA_RANK, MAX_LENGTH or TRAIN_MEMORY, or choose a smaller policy`,
    { code: 'too_little_memory' },
  );
}

/** Assumes that nearly all tokens are response tokens. */
function estimateRows(options: MemoryOptions, S: number, T: number): number {
  return estimateRun(options, options.scoreOnly ? 'score' : 'step', { S, T, R: S * T });
}

function countElements(shapes: ReadonlyMap<string, number[]>): number {
  let count = 0;
  for (const shape of shapes.values()) count += sizeOf(shape);
  return count;
}
