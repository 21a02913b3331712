// A Device runs programs and keeps weights, gradient and AdamW's moments close to its kernels: in memory that ONNX
// Runtime reads in place, in TensorFlow's tensors or in GPU buffers. Only batches and small results cross its interface.
import { AttuneError } from '../../shared/error.ts';
import { type Architecture, REWARD_HEAD } from '../../shared/model/architecture.ts';
import type { Tensor, Weights } from '../../shared/model/tensor.ts';
import type { Settings } from '../../shared/settings.ts';
import { LORA_SCALE } from '../model/parameters.ts';
import type { ObjectiveSettings } from '../objectives.ts';
import type { InputArrays, ShapeBucket } from './batch.ts';
import type { OptimizerSettings } from './engine.ts';
import { initAdapters, type LoraConfig } from './lora.ts';
import type { ProgramKind } from './programs.ts';

export type DeviceOptions = {
  architecture: Architecture;
  objective: ObjectiveSettings;
  threads: number;
  /** The execution provider of the onnx engine. Default: cpu. */
  provider?: Settings['TRAIN_PROVIDER'];
  /** Trains LoRA adapters and freezes the weights. */
  lora?: LoraConfig | null;
  /** Bytes that training may use. Default: no limit. */
  memoryBytes?: number;
  /** No gradient is computed, so memory is reserved for the weights only. */
  scoreOnly?: boolean;
};

/** The arrays that outlive a step: the trained weights (or adapters), and AdamW's first and second moments. */
export type ParameterArray = 'weight' | 'firstMoment' | 'secondMoment';

export interface Device {
  /** Whether it compiles a graph per batch shape, so that batches should have few shapes. */
  readonly usesShapeBuckets?: boolean;
  /** Optimizer steps so far; AdamW's bias corrections depend on it. */
  optimizerSteps: number;
  /** Runs a program on a batch. A `step` also adds the batch's gradient to the accumulated one. */
  run(kind: ProgramKind, bucket: ShapeBucket, batch: InputArrays): Promise<Map<string, Float32Array>>;
  zeroGradient(): void;
  /** The L2 norm of the accumulated gradient, of all parameters or of one. */
  gradientNorm(name?: string): Promise<number>;
  /** One AdamW step with the accumulated gradient times `scale`. */
  optimizerStep(scale: number, learningRate: number, settings: OptimizerSettings): Promise<void>;
  /** Loads the inputs of programs that are not trained; see `frozenShapes` in lora.ts. */
  loadFrozen(weights: Weights): void;
  /** Loads the tensors named `prefix` + parameter; throws AttuneError if one is missing or has another shape. */
  load(array: ParameterArray, tensors: Weights, prefix?: string): void;
  /** The tensors that `load` takes, valid until the next call. */
  read(array: ParameterArray, prefix?: string): Promise<Weights>;
  /** Copies, safe to keep. */
  copy(array: ParameterArray, prefix?: string): Promise<Weights>;
  close(): Promise<void>;
}

/** Loads a policy onto a device: its weights, or its frozen weights and new adapters. */
export function loadPolicy(
  device: Device,
  weights: Weights,
  { architecture, lora }: { architecture: Architecture; lora?: LoraConfig | null },
): void {
  if (!lora) {
    device.load('weight', weights);
    return;
  }
  device.loadFrozen(new Map(weights).set(LORA_SCALE, { shape: [], data: Float32Array.of(lora.alpha / lora.rank) }));
  const head = weights.get(REWARD_HEAD);
  device.load(
    'weight',
    new Map([...initAdapters(architecture, lora), ...(head ? ([[REWARD_HEAD, head]] as const) : [])]),
  );
}

/** The tensor of this name; throws `invalid_checkpoint` if it is missing or has another shape. */
export function expectTensor(tensors: Weights, name: string, shape: number[]): Tensor {
  const tensor = tensors.get(name);
  if (!tensor || tensor.shape.join() !== shape.join())
    throw new AttuneError(
      `trainer: tensor ${name} ${tensor ? `has shape [${tensor.shape}]` : 'is missing'}, expected [${shape}]; the weights belong to another policy`,
      { code: 'invalid_checkpoint' },
    );
  return tensor;
}
