// The device of NVIDIA GPUs: TensorFlow runs the model's and the objective's own code, one operation after the other, on
// tensors that stay where it computes. Nothing is traced, so no shape has to be prepared.
import * as tf from '@tensorflow/tfjs-core';
import type { Weights } from '../../../../shared/model/safetensors.ts';
import type { Arrays } from '../../batch.ts';
import { type Device, type DeviceOptions, type KeptArray, takeTensor } from '../../device.ts';
import type { OptimizerSettings } from '../../engine.ts';
import { frozenShapes, trainableShapes } from '../../lora.ts';
import { type Bucket, computeProgram, gradientName, type ProgramKind } from '../../programs.ts';
import { stepAdamw } from './adamw-tfjs.ts';
import { openBackend } from './tensorflow-backend.ts';

type Tensors = Map<string, tf.Tensor>;

export class TensorflowDevice implements Device {
  readonly version: string;
  readonly gpu: boolean;
  steps = 0;
  private readonly options: DeviceOptions;
  private readonly shapes: ReadonlyMap<string, number[]>;
  /** Moments are there from the first update on: an engine that only scores has none. */
  private readonly kept: Record<KeptArray, Tensors> = { weight: new Map(), first: new Map(), second: new Map() };
  private readonly gradient: Tensors = new Map();
  private readonly frozen: Tensors = new Map();

  private constructor(options: DeviceOptions, found: { version: string; gpu: boolean }) {
    this.options = options;
    this.shapes = trainableShapes(options.architecture, options.lora);
    this.version = found.version;
    this.gpu = found.gpu;
  }

  static async open(options: DeviceOptions): Promise<TensorflowDevice> {
    return new TensorflowDevice(options, await openBackend());
  }

  async run(kind: ProgramKind, bucket: Bucket, batch: Arrays): Promise<Map<string, Float32Array>> {
    const { architecture, objective } = this.options;
    const outputs = new Map<string, Float32Array>();
    tf.engine().startScope();
    try {
      const inputs: Tensors = new Map([...this.frozen, ...this.kept.weight]);
      for (const [name, array] of batch) inputs.set(name, toTensor(array));
      const tensors = computeProgram(architecture, objective, kind, bucket, inputs);
      if (kind === 'step') this.addGradient(tensors);
      for (const [name, tensor] of tensors) outputs.set(name, tensor.dataSync().slice() as Float32Array);
      // Those that the gradient's code keeps from being freed before they are read.
      for (const tensor of tensors.values()) tensor.dispose();
    } finally {
      tf.engine().endScope();
    }
    return outputs;
  }

  clearGradient(): void {
    dispose(this.gradient);
  }

  async gradientNorm(name?: string): Promise<number> {
    const gradients = name ? [this.gradient.get(name)!] : [...this.gradient.values()];
    return tf.tidy(() => {
      const squares = gradients.map((tensor) => tf.sum(tf.square(tensor)));
      return Math.sqrt(tf.sum(tf.stack(squares)).dataSync()[0]!);
    });
  }

  async update(scale: number, learningRate: number, settings: OptimizerSettings): Promise<void> {
    this.steps++;
    const { weight, first, second } = this.kept;
    for (const array of [first, second]) if (array.size === 0) this.fillWithZeros(array);
    stepAdamw({ weight, first, second, gradient: this.gradient }, { scale, learningRate, step: this.steps, settings });
  }

  freeze(weights: Weights): void {
    dispose(this.frozen);
    for (const [name, shape] of frozenShapes(this.options.architecture, this.options.lora))
      this.frozen.set(name, tf.keep(tf.tensor(takeTensor(weights, name, shape).data.slice(), shape)));
  }

  load(array: KeptArray, tensors: Weights, prefix = ''): void {
    const taken = Array.from(
      this.shapes,
      ([name, shape]) => [name, takeTensor(tensors, prefix + name, shape)] as const,
    );
    dispose(this.kept[array]);
    // A tensor reads its array when it is first used, which may be long after this.
    for (const [name, { shape, data }] of taken) this.kept[array].set(name, tf.keep(tf.tensor(data.slice(), shape)));
  }

  async copy(array: KeptArray, prefix = ''): Promise<Weights> {
    const read = (name: string, length: number) =>
      (this.kept[array].get(name)?.dataSync().slice() as Float32Array | undefined) ?? new Float32Array(length);
    return new Map(
      Array.from(this.shapes, ([name, shape]) => [
        prefix + name,
        { shape, data: read(name, tf.util.sizeFromShape(shape)) },
      ]),
    );
  }

  async close(): Promise<void> {
    for (const tensors of [...Object.values(this.kept), this.gradient, this.frozen]) dispose(tensors);
  }

  /** Takes the gradients out of what a step gave and adds them to those that are held. */
  private addGradient(tensors: Tensors): void {
    for (const name of this.shapes.keys()) {
      const part = tensors.get(gradientName(name))!;
      tensors.delete(gradientName(name));
      const before = this.gradient.get(name);
      this.gradient.set(name, tf.keep(before ? tf.add(before, part) : part));
      before?.dispose();
    }
  }

  private fillWithZeros(array: Tensors): void {
    for (const [name, shape] of this.shapes) array.set(name, tf.keep(tf.zeros(shape)));
  }
}

function toTensor({ shape, data }: { shape: number[]; data: Float32Array | Int32Array }): tf.Tensor {
  return tf.tensor(data, shape, data instanceof Int32Array ? 'int32' : 'float32');
}

function dispose(tensors: Tensors): void {
  for (const tensor of tensors.values()) tensor.dispose();
  tensors.clear();
}
