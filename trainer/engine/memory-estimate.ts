// What training takes of the machine, before it is taken: weights, gradient and moments, what a micro-batch keeps for its
// gradient, and the output layer's rows. It chooses how many tokens are computed at once, and refuses what cannot fit.
import { AttuneError } from '../../shared/error.ts';
import { type Architecture, weightShapes } from '../../shared/model/architecture.ts';
import { type LoraSettings, trainableShapes } from './lora.ts';
import type { Bucket, ProgramKind } from './programs.ts';
import { sizeOf } from './trace/graph.ts';

/** Node, ONNX Runtime and the traced graphs of a policy this size. */
const PROCESS = 350 * 2 ** 20;
/** More are no quicker on a CPU, see docs/LOG.md. */
const MOST_TOKENS = 1024;
const LEAST_TOKENS = 128;
const USUAL_LENGTH = 512;

export type MemoryOptions = {
  architecture: Architecture;
  lora?: LoraSettings | null;
  /** No gradient is taken: only weights are held. */
  scoreOnly?: boolean;
};

/** What a machine that others have filled for a moment is still asked for. */
const LEAST_MEMORY = 2 ** 30;

/** Bytes that training may take. */
export function memoryBudget(setting: number | undefined): number {
  return setting ?? Math.max(LEAST_MEMORY, process.availableMemory() / 2);
}

/** Bytes of a policy in an engine, whatever the batches. */
export function estimateParameters({ architecture, lora, scoreOnly }: MemoryOptions): number {
  const weights = countOf(weightShapes(architecture));
  // The checkpoint as it was read is there too, and a copy of what a run gave out that waits to be collected.
  if (scoreOnly) return PROCESS + 4 * 2 * weights;
  if (!lora) return PROCESS + 4 * 6 * weights;
  return PROCESS + 4 * (2 * weights + 7 * countOf(trainableShapes(architecture, lora)));
}

/** Bytes that a program holds at its peak beside the parameters. */
export function estimateRun(options: MemoryOptions, kind: ProgramKind, { S, T, R }: Omit<Bucket, 'P'>): number {
  const { architecture: a, lora } = options;
  const head = (kind === 'step' ? 3 : 2) * (kind === 'logits' ? S * T : R) * a.vocabSize;
  const heads = (a.heads + 2 * a.kvHeads) * a.headDim;
  const adapters = lora ? 7 * lora.rank : 0;
  const layer = S * T * (6 * a.hiddenSize + 2 * heads + 4 * a.intermediateSize + a.heads * T + adapters);
  return 4 * (head + layer * (kind === 'step' ? a.layers : 1));
}

/** The tokens of a micro-batch for a budget of bytes. Refuses where not even a small one fits, or the longest pair. */
export function chooseMicroBatch(options: MemoryOptions & { longest?: number }, memory: number): number {
  const fixed = estimateParameters(options);
  const pair = fixed + estimateRows(options, 2, options.longest ?? 0);
  if (pair > memory) throw tooLittle(pair, memory);
  let tokens = MOST_TOKENS;
  for (;;) {
    const length = Math.min(tokens, USUAL_LENGTH);
    const needed = fixed + estimateRows(options, tokens / length, length);
    if (needed <= memory) return tokens;
    if (tokens <= LEAST_TOKENS) throw tooLittle(needed, memory);
    tokens /= 2;
  }
}

export function tooLittle(needed: number, memory: number): AttuneError {
  const inGiB = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return new AttuneError(
    `trainer: training this policy needs about ${inGiB(needed)}, and ${inGiB(memory)} may be taken (TRAIN_MEMORY, or half of what is free); set LORA_RANK, MAX_LENGTH or TRAIN_MEMORY, or choose a smaller policy`,
    { code: 'too_little_memory' },
  );
}

/** Nearly all of it responses. */
function estimateRows(options: MemoryOptions, S: number, T: number): number {
  return estimateRun(options, options.scoreOnly ? 'score' : 'step', { S, T, R: S * T });
}

function countOf(shapes: ReadonlyMap<string, number[]>): number {
  let count = 0;
  for (const shape of shapes.values()) count += sizeOf(shape);
  return count;
}
