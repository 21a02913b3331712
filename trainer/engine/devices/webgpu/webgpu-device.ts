// The device of GPUs that are not NVIDIA's, or that have no TensorFlow: the same traced programs on ONNX Runtime's
// WebGPU provider (Vulkan, Metal or Direct3D 12 beneath). Weights, gradient and moments are buffers there; a batch goes
// in and a few numbers come out.
import { Tensor } from 'onnxruntime-node';
import type { Weights } from '../../../../shared/model/safetensors.ts';
import type { Arrays } from '../../batch.ts';
import { type Device, type DeviceOptions, type KeptArray, takeTensor } from '../../device.ts';
import type { OptimizerSettings } from '../../engine.ts';
import { frozenShapes, trainableShapes } from '../../lora.ts';
import { type Bucket, gradientName, type ProgramKind } from '../../programs.ts';
import { sizeOf } from '../../trace/graph.ts';
import { type AdamwNumber, Arithmetic, adamw, add, addSquares, download, upload } from './gpu-operations.ts';
import { GpuSessions } from './webgpu-sessions.ts';

type Tensors = Map<string, Tensor>;

export class WebgpuDevice implements Device {
  steps = 0;
  readonly fewBuckets = true;
  private readonly options: DeviceOptions;
  private readonly shapes: ReadonlyMap<string, number[]>;
  private readonly sessions: GpuSessions;
  private readonly arithmetic = new Arithmetic();
  /** What was loaded is in memory until it is first used; moments are there from the first update on. */
  private readonly kept: Record<KeptArray, Tensors> = { weight: new Map(), first: new Map(), second: new Map() };
  private readonly gradient: Tensors = new Map();
  private readonly frozen: Tensors = new Map();

  constructor(options: DeviceOptions) {
    this.options = options;
    this.shapes = trainableShapes(options.architecture, options.lora);
    this.sessions = new GpuSessions(options);
  }

  async run(kind: ProgramKind, bucket: Bucket, batch: Arrays): Promise<Map<string, Float32Array>> {
    const weights = new Map([...(await this.uploadAll(this.frozen)), ...(await this.bring('weight'))]);
    const { session, inputs } = await this.sessions.open(kind, bucket);
    const feeds = inputs.map((name): [string, Tensor] => [name, weights.get(name) ?? toTensor(name, batch)]);
    const outputs = await session.run(Object.fromEntries(feeds));
    if (kind === 'step') await this.addGradient(outputs);
    const results = new Map<string, Float32Array>();
    for (const [name, tensor] of Object.entries(outputs))
      if (tensor.location === 'cpu') results.set(name, tensor.data as Float32Array);
    return results;
  }

  clearGradient(): void {
    dispose(this.gradient);
  }

  async gradientNorm(name?: string): Promise<number> {
    let total = toScalar(0);
    for (const x of name ? [this.gradient.get(name)!] : this.gradient.values()) {
      const { sum } = await this.arithmetic.run(addSquares, { x, total });
      total.dispose();
      total = sum;
    }
    const squares = await this.read(total);
    total.dispose();
    return Math.sqrt(squares[0]!);
  }

  /** Gives up the gradient as it goes, so that there is room for what replaces the weights and moments. */
  async update(scale: number, learningRate: number, settings: OptimizerSettings): Promise<void> {
    this.steps++;
    const { beta1, beta2, epsilon, weightDecay } = settings;
    const [weights, firsts, seconds] = [
      await this.bring('weight'),
      await this.bring('first'),
      await this.bring('second'),
    ];
    const numbers = await this.bringNumbers({
      scale,
      rate: learningRate / (1 - beta1 ** this.steps),
      correction: 1 / Math.sqrt(1 - beta2 ** this.steps),
      decay: 1 - learningRate * weightDecay,
      beta1,
      rest1: 1 - beta1,
      beta2,
      rest2: 1 - beta2,
      epsilon,
    });
    const { y: one } = await this.arithmetic.run(upload, { x: toScalar(1) });
    for (const [name, gradient] of this.gradient) {
      const [weight, first, second] = [weights.get(name)!, firsts.get(name)!, seconds.get(name)!];
      // Gains and biases are not pulled to zero.
      const decay = weight.dims.length > 1 ? numbers.decay : one;
      const next = await this.arithmetic.run(adamw, { weight, first, second, gradient, ...numbers, decay });
      for (const old of [weight, first, second, gradient]) old.dispose();
      weights.set(name, next.nextWeight);
      firsts.set(name, next.nextFirst);
      seconds.set(name, next.nextSecond);
    }
    this.gradient.clear();
    for (const number of [...Object.values(numbers), one]) number.dispose();
  }

  freeze(weights: Weights): void {
    dispose(this.frozen);
    for (const [name, shape] of frozenShapes(this.options.architecture, this.options.lora))
      this.frozen.set(name, new Tensor('float32', takeTensor(weights, name, shape).data.slice(), shape));
  }

  load(array: KeptArray, tensors: Weights, prefix = ''): void {
    const taken = Array.from(this.shapes, ([name, shape]) => {
      const { data } = takeTensor(tensors, prefix + name, shape);
      return [name, new Tensor('float32', data.slice(), shape)] as const;
    });
    dispose(this.kept[array]);
    for (const [name, tensor] of taken) this.kept[array].set(name, tensor);
  }

  async copy(array: KeptArray, prefix = ''): Promise<Weights> {
    const copies: Weights = new Map();
    for (const [name, tensor] of await this.bring(array))
      copies.set(prefix + name, { shape: [...tensor.dims], data: await this.read(tensor) });
    return copies;
  }

  /** Where the tensors of an array are. */
  places(array: KeptArray): Set<Tensor.DataLocation> {
    return new Set(Array.from(this.kept[array].values(), (tensor) => tensor.location));
  }

  async close(): Promise<void> {
    for (const tensors of [...Object.values(this.kept), this.gradient, this.frozen]) dispose(tensors);
    await this.sessions.close();
    await this.arithmetic.close();
  }

  /** Takes the gradients out of what a step gave and adds them to those that are held. */
  private async addGradient(outputs: Record<string, Tensor>): Promise<void> {
    for (const name of this.shapes.keys()) {
      const part = outputs[gradientName(name)]!;
      const before = this.gradient.get(name);
      if (!before) {
        this.gradient.set(name, part);
        continue;
      }
      const { sum } = await this.arithmetic.run(add, { a: before, b: part });
      this.gradient.set(name, sum);
      before.dispose();
      part.dispose();
    }
  }

  /** Everything of an array on the GPU; zeros where nothing was loaded. */
  private async bring(array: KeptArray): Promise<Tensors> {
    const tensors = this.kept[array];
    for (const [name, shape] of this.shapes)
      if (!tensors.has(name)) tensors.set(name, new Tensor('float32', new Float32Array(sizeOf(shape)), shape));
    return this.uploadAll(tensors);
  }

  private async uploadAll(tensors: Tensors): Promise<Tensors> {
    for (const [name, tensor] of tensors)
      if (tensor.location !== 'gpu-buffer') tensors.set(name, (await this.arithmetic.run(upload, { x: tensor })).y);
    return tensors;
  }

  private async bringNumbers(numbers: Record<AdamwNumber, number>): Promise<Record<AdamwNumber, Tensor>> {
    const brought: [string, Tensor][] = [];
    for (const [name, value] of Object.entries(numbers))
      brought.push([name, (await this.arithmetic.run(upload, { x: toScalar(value) })).y]);
    return Object.fromEntries(brought) as Record<AdamwNumber, Tensor>;
  }

  private async read(tensor: Tensor): Promise<Float32Array> {
    return (await this.arithmetic.run(download, { x: tensor })).y.data as Float32Array;
  }
}

function toTensor(name: string, batch: Arrays): Tensor {
  const array = batch.get(name);
  if (!array) throw new Error(`internal: webgpu: no input ${name}`);
  const { shape, data } = array;
  return data instanceof Int32Array ? new Tensor('int32', data, shape) : new Tensor('float32', data, shape);
}

function toScalar(value: number): Tensor {
  return new Tensor('float32', Float32Array.of(value), []);
}

function dispose(tensors: Tensors): void {
  for (const tensor of tensors.values()) tensor.dispose();
  tensors.clear();
}
