// The device for any other GPU: the traced programs on ONNX Runtime's WebGPU provider, over Vulkan, Metal or Direct3D
// 12. Weights, gradient and moments are GPU buffers; per run only a batch is uploaded and a few numbers are read back.
import { Tensor } from 'onnxruntime-node';
import type { Weights } from '../../../../shared/model/tensor.ts';
import type { InputArrays, ShapeBucket } from '../../batch.ts';
import { type Device, type DeviceOptions, expectTensor, type ParameterArray } from '../../device.ts';
import type { OptimizerSettings } from '../../engine.ts';
import { frozenShapes, trainableShapes } from '../../lora.ts';
import { gradientName, type ProgramKind } from '../../programs.ts';
import { sizeOf } from '../../trace/symbolic-tensor.ts';
import { type AdamwScalar, adamw, add, addSquares, download, GpuOperations, upload } from './gpu-operations.ts';
import { WebgpuSessions } from './webgpu-sessions.ts';

type Tensors = Map<string, Tensor>;

export class WebgpuDevice implements Device {
  optimizerSteps = 0;
  readonly usesShapeBuckets = true;
  private readonly options: DeviceOptions;
  private readonly shapes: ReadonlyMap<string, number[]>;
  private readonly sessions: WebgpuSessions;
  private readonly operations = new GpuOperations();
  /** Loaded tensors are uploaded at their first use; moments are created by the first optimizer step. */
  private readonly parameters: Record<ParameterArray, Tensors> = {
    weight: new Map(),
    firstMoment: new Map(),
    secondMoment: new Map(),
  };
  private readonly gradient: Tensors = new Map();
  private readonly frozen: Tensors = new Map();

  constructor(options: DeviceOptions) {
    this.options = options;
    this.shapes = trainableShapes(options.architecture, options.lora);
    this.sessions = new WebgpuSessions(options);
  }

  async run(kind: ProgramKind, bucket: ShapeBucket, batch: InputArrays): Promise<Map<string, Float32Array>> {
    const weights = new Map([...(await this.uploadAll(this.frozen)), ...(await this.ensureOnGpu('weight'))]);
    const { session, inputs } = await this.sessions.open(kind, bucket);
    const feeds = inputs.map((name): [string, Tensor] => [name, weights.get(name) ?? toTensor(name, batch)]);
    const outputs = await session.run(Object.fromEntries(feeds));
    if (kind === 'step') await this.accumulateGradient(outputs);
    const results = new Map<string, Float32Array>();
    for (const [name, tensor] of Object.entries(outputs))
      if (tensor.location === 'cpu') results.set(name, tensor.data as Float32Array);
    return results;
  }

  zeroGradient(): void {
    dispose(this.gradient);
  }

  async gradientNorm(name?: string): Promise<number> {
    let total = toScalar(0);
    for (const x of name ? [this.gradient.get(name)!] : this.gradient.values()) {
      const { sum } = await this.operations.run(addSquares, { x, total });
      total.dispose();
      total = sum;
    }
    const squares = await this.readTensor(total);
    total.dispose();
    return Math.sqrt(squares[0]!);
  }

  /** Frees the gradient parameter by parameter, so that its memory is reused for the new weights and moments. */
  async optimizerStep(scale: number, learningRate: number, settings: OptimizerSettings): Promise<void> {
    this.optimizerSteps++;
    const { beta1, beta2, epsilon, weightDecay } = settings;
    const [weights, firsts, seconds] = [
      await this.ensureOnGpu('weight'),
      await this.ensureOnGpu('firstMoment'),
      await this.ensureOnGpu('secondMoment'),
    ];
    const scalars = await this.uploadScalars({
      scale,
      rate: learningRate / (1 - beta1 ** this.optimizerSteps),
      correction: 1 / Math.sqrt(1 - beta2 ** this.optimizerSteps),
      decay: 1 - learningRate * weightDecay,
      beta1,
      oneMinusBeta1: 1 - beta1,
      beta2,
      oneMinusBeta2: 1 - beta2,
      epsilon,
    });
    const { y: one } = await this.operations.run(upload, { x: toScalar(1) });
    for (const [name, gradient] of this.gradient) {
      const [weight, first, second] = [weights.get(name)!, firsts.get(name)!, seconds.get(name)!];
      // Gains and biases are not decayed.
      const decay = weight.dims.length > 1 ? scalars.decay : one;
      const next = await this.operations.run(adamw, { weight, first, second, gradient, ...scalars, decay });
      for (const old of [weight, first, second, gradient]) old.dispose();
      weights.set(name, next.nextWeight);
      firsts.set(name, next.nextFirst);
      seconds.set(name, next.nextSecond);
    }
    this.gradient.clear();
    for (const scalar of [...Object.values(scalars), one]) scalar.dispose();
  }

  loadFrozen(weights: Weights): void {
    dispose(this.frozen);
    for (const [name, shape] of frozenShapes(this.options.architecture, this.options.lora))
      this.frozen.set(name, new Tensor('float32', expectTensor(weights, name, shape).data.slice(), shape));
  }

  load(array: ParameterArray, tensors: Weights, prefix = ''): void {
    const tensorsToLoad = Array.from(this.shapes, ([name, shape]) => {
      const { data } = expectTensor(tensors, prefix + name, shape);
      return [name, new Tensor('float32', data.slice(), shape)] as const;
    });
    dispose(this.parameters[array]);
    for (const [name, tensor] of tensorsToLoad) this.parameters[array].set(name, tensor);
  }

  read(array: ParameterArray, prefix?: string): Promise<Weights> {
    return this.copy(array, prefix);
  }

  async copy(array: ParameterArray, prefix = ''): Promise<Weights> {
    const copies: Weights = new Map();
    for (const [name, tensor] of await this.ensureOnGpu(array))
      copies.set(prefix + name, { shape: [...tensor.dims], data: await this.readTensor(tensor) });
    return copies;
  }

  /** Where the tensors of an array are: in GPU buffers or not uploaded yet. */
  locations(array: ParameterArray): Set<Tensor.DataLocation> {
    return new Set(Array.from(this.parameters[array].values(), (tensor) => tensor.location));
  }

  async close(): Promise<void> {
    for (const tensors of [...Object.values(this.parameters), this.gradient, this.frozen]) dispose(tensors);
    await this.sessions.close();
    await this.operations.close();
  }

  /** Adds the gradients in the outputs of a step to the accumulated gradient. */
  private async accumulateGradient(outputs: Record<string, Tensor>): Promise<void> {
    for (const name of this.shapes.keys()) {
      const gradient = outputs[gradientName(name)]!;
      const accumulated = this.gradient.get(name);
      if (!accumulated) {
        this.gradient.set(name, gradient);
        continue;
      }
      const { sum } = await this.operations.run(add, { a: accumulated, b: gradient });
      this.gradient.set(name, sum);
      accumulated.dispose();
      gradient.dispose();
    }
  }

  /** The tensors of an array on the GPU; zeros if nothing was loaded. */
  private async ensureOnGpu(array: ParameterArray): Promise<Tensors> {
    const tensors = this.parameters[array];
    for (const [name, shape] of this.shapes)
      if (!tensors.has(name)) tensors.set(name, new Tensor('float32', new Float32Array(sizeOf(shape)), shape));
    return this.uploadAll(tensors);
  }

  private async uploadAll(tensors: Tensors): Promise<Tensors> {
    for (const [name, tensor] of tensors)
      if (tensor.location !== 'gpu-buffer') tensors.set(name, (await this.operations.run(upload, { x: tensor })).y);
    return tensors;
  }

  private async uploadScalars(values: Record<AdamwScalar, number>): Promise<Record<AdamwScalar, Tensor>> {
    const uploaded: [string, Tensor][] = [];
    for (const [name, value] of Object.entries(values))
      uploaded.push([name, (await this.operations.run(upload, { x: toScalar(value) })).y]);
    return Object.fromEntries(uploaded) as Record<AdamwScalar, Tensor>;
  }

  private async readTensor(tensor: Tensor): Promise<Float32Array> {
    return (await this.operations.run(download, { x: tensor })).y.data as Float32Array;
  }
}

function toTensor(name: string, batch: InputArrays): Tensor {
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
