// The device for NVIDIA GPUs: TensorFlow runs the operations of the model and the objective eagerly, on tensors that
// stay on the GPU. Nothing is traced, so batches may have any shape.
import * as tf from '@tensorflow/tfjs-core';
import type { Weights } from '../../../../shared/model/tensor.ts';
import type { InputArrays, ShapeBucket } from '../../batch.ts';
import { type Device, type DeviceOptions, expectTensor, type ParameterArray } from '../../device.ts';
import type { OptimizerSettings } from '../../engine.ts';
import { frozenShapes, trainableShapes } from '../../lora.ts';
import { computeProgram, gradientName, type ProgramKind } from '../../programs.ts';
import { stepAdamw } from './adamw-tfjs.ts';
import { openBackend } from './tensorflow-backend.ts';

type Tensors = Map<string, tf.Tensor>;

export class TensorflowDevice implements Device {
  readonly hasGpu: boolean;
  optimizerSteps = 0;
  private readonly options: DeviceOptions;
  private readonly shapes: ReadonlyMap<string, number[]>;
  /** Moments are created by the first optimizer step, so an engine that only scores has none. */
  private readonly parameters: Record<ParameterArray, Tensors> = {
    weight: new Map(),
    firstMoment: new Map(),
    secondMoment: new Map(),
  };
  private readonly gradient: Tensors = new Map();
  private readonly frozen: Tensors = new Map();

  private constructor(options: DeviceOptions, hasGpu: boolean) {
    this.options = options;
    this.shapes = trainableShapes(options.architecture, options.lora);
    this.hasGpu = hasGpu;
  }

  static async open(options: DeviceOptions): Promise<TensorflowDevice> {
    const { hasGpu } = await openBackend();
    return new TensorflowDevice(options, hasGpu);
  }

  async run(kind: ProgramKind, bucket: ShapeBucket, batch: InputArrays): Promise<Map<string, Float32Array>> {
    const { architecture, objective } = this.options;
    const outputs = new Map<string, Float32Array>();
    tf.engine().startScope();
    try {
      const inputs: Tensors = new Map([...this.frozen, ...this.parameters.weight]);
      for (const [name, array] of batch) inputs.set(name, toTensor(array));
      const tensors = computeProgram(architecture, objective, kind, bucket, inputs);
      if (kind === 'step') this.accumulateGradient(tensors);
      for (const [name, tensor] of tensors) outputs.set(name, tensor.dataSync().slice() as Float32Array);
      // computePairGradients keeps its outputs (tf.keep), so the scope does not free them.
      for (const tensor of tensors.values()) tensor.dispose();
    } finally {
      tf.engine().endScope();
    }
    return outputs;
  }

  zeroGradient(): void {
    dispose(this.gradient);
  }

  async gradientNorm(name?: string): Promise<number> {
    const gradients = name ? [this.gradient.get(name)!] : [...this.gradient.values()];
    return tf.tidy(() => {
      const squares = gradients.map((tensor) => tf.sum(tf.square(tensor)));
      return Math.sqrt(tf.sum(tf.stack(squares)).dataSync()[0]!);
    });
  }

  async optimizerStep(scale: number, learningRate: number, settings: OptimizerSettings): Promise<void> {
    this.optimizerSteps++;
    const { weight, firstMoment, secondMoment } = this.parameters;
    for (const moments of [firstMoment, secondMoment]) if (moments.size === 0) this.fillWithZeros(moments);
    stepAdamw(
      { weight, firstMoment, secondMoment, gradient: this.gradient },
      { scale, learningRate, step: this.optimizerSteps, settings },
    );
  }

  loadFrozen(weights: Weights): void {
    dispose(this.frozen);
    for (const [name, shape] of frozenShapes(this.options.architecture, this.options.lora))
      this.frozen.set(name, tf.keep(tf.tensor(expectTensor(weights, name, shape).data.slice(), shape)));
  }

  load(array: ParameterArray, tensors: Weights, prefix = ''): void {
    const checked = Array.from(
      this.shapes,
      ([name, shape]) => [name, expectTensor(tensors, prefix + name, shape)] as const,
    );
    dispose(this.parameters[array]);
    // tfjs uploads the array when the tensor is first used, which may be much later, so it gets its own copy.
    for (const [name, { shape, data }] of checked)
      this.parameters[array].set(name, tf.keep(tf.tensor(data.slice(), shape)));
  }

  read(array: ParameterArray, prefix?: string): Promise<Weights> {
    return this.copy(array, prefix);
  }

  async copy(array: ParameterArray, prefix = ''): Promise<Weights> {
    const read = (name: string, length: number) =>
      (this.parameters[array].get(name)?.dataSync().slice() as Float32Array | undefined) ?? new Float32Array(length);
    return new Map(
      Array.from(this.shapes, ([name, shape]) => [
        prefix + name,
        { shape, data: read(name, tf.util.sizeFromShape(shape)) },
      ]),
    );
  }

  async close(): Promise<void> {
    for (const tensors of [...Object.values(this.parameters), this.gradient, this.frozen]) dispose(tensors);
  }

  /** Moves the gradients from the outputs of a step into the accumulated gradient. */
  private accumulateGradient(tensors: Tensors): void {
    for (const name of this.shapes.keys()) {
      const gradient = tensors.get(gradientName(name))!;
      tensors.delete(gradientName(name));
      const sum = this.gradient.get(name);
      this.gradient.set(name, tf.keep(sum ? tf.add(sum, gradient) : gradient));
      sum?.dispose();
    }
  }

  private fillWithZeros(tensors: Tensors): void {
    for (const [name, shape] of this.shapes) tensors.set(name, tf.keep(tf.zeros(shape)));
  }
}

function toTensor({ shape, data }: { shape: number[]; data: Float32Array | Int32Array }): tf.Tensor {
  return tf.tensor(data, shape, data instanceof Int32Array ? 'int32' : 'float32');
}

function dispose(tensors: Tensors): void {
  for (const tensor of tensors.values()) tensor.dispose();
  tensors.clear();
}
