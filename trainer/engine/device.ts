// What computes: it holds the weights, the gradient and AdamW's moments where they are computed on (flat memory that
// ONNX Runtime reads, TensorFlow's tensors, a GPU's buffers), so that only batches and small results travel.
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tensor, Weights } from '../../shared/model/safetensors.ts';
import type { Settings } from '../../shared/settings.ts';
import type { ObjectiveSettings } from '../objectives.ts';
import type { Arrays } from './batch.ts';
import type { OptimizerSettings } from './engine.ts';
import type { LoraSettings } from './lora.ts';
import type { Bucket, ProgramKind } from './programs.ts';

export type DeviceOptions = {
  architecture: Architecture;
  objective: ObjectiveSettings;
  threads: number;
  /** Of the ONNX engine; the CPU unless told. */
  provider?: Settings['TRAIN_PROVIDER'];
  /** Low-rank adapters are trained, and the weights are frozen. */
  lora?: LoraSettings | null;
  /** Bytes that training may take; no limit unless told. */
  memory?: number;
  /** No gradient will be taken, so memory is counted for the weights alone. */
  scoreOnly?: boolean;
};

/** The arrays that outlive a step: the weights (or adapters) that are trained, and AdamW's first and second moments. */
export type KeptArray = 'weight' | 'first' | 'second';

export interface Device {
  /** Whether it makes something for every bucket, so that there should be few. */
  readonly fewBuckets?: boolean;
  /** Optimizer steps so far; AdamW's corrections depend on it. */
  steps: number;
  /** Runs a program on a batch. A `step` also adds the batch's gradient to the one that is held. */
  run(kind: ProgramKind, bucket: Bucket, batch: Arrays): Promise<Map<string, Float32Array>>;
  clearGradient(): void;
  /** The norm of the gradient that is held, of all or of one parameter. */
  gradientNorm(name?: string): Promise<number>;
  /** One AdamW step from the gradient times `scale`. */
  update(scale: number, learningRate: number, settings: OptimizerSettings): Promise<void>;
  /** Takes what programs need and nobody trains: see lora.ts. */
  freeze(weights: Weights): void;
  /** Takes what is named `prefix` + parameter; AttuneError where one is missing or has another shape. */
  load(array: KeptArray, tensors: Weights, prefix?: string): void;
  /** Copies, safe to keep. */
  copy(array: KeptArray, prefix?: string): Promise<Weights>;
  close(): Promise<void>;
}

/** What a device loads; refuses what is missing or has another shape. */
export function takeTensor(tensors: Weights, name: string, shape: number[]): Tensor {
  const given = tensors.get(name);
  if (!given || given.shape.join() !== shape.join())
    throw new AttuneError(
      `trainer: tensor ${name} ${given ? `has shape [${given.shape}]` : 'is missing'}, expected [${shape}]; the weights are another policy's`,
      { code: 'invalid_checkpoint' },
    );
  return given;
}
