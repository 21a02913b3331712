// The default device, for every machine: parameters in WebAssembly memory, programs traced to ONNX and run by ONNX
// Runtime on the CPU, AdamW as a WebAssembly kernel.
import type { Weights } from '../../../../shared/model/tensor.ts';
import type { InputArrays, ShapeBucket } from '../../batch.ts';
import { type Device, type DeviceOptions, expectTensor, type ParameterArray } from '../../device.ts';
import type { OptimizerSettings } from '../../engine.ts';
import { frozenShapes, trainableShapes } from '../../lora.ts';
import { accumulatedName, gradientName, type ProgramKind } from '../../programs.ts';
import type { BufferName } from './adamw-kernel.ts';
import { CpuSessions } from './cpu-sessions.ts';
import { ParameterBuffers } from './parameter-buffers.ts';

export class CpuDevice implements Device {
  private readonly parameters: ParameterBuffers;
  private readonly frozen: InputArrays = new Map();
  private readonly options: DeviceOptions;
  private readonly sessions: CpuSessions;

  constructor(options: DeviceOptions) {
    this.options = options;
    this.parameters = new ParameterBuffers(trainableShapes(options.architecture, options.lora));
    this.sessions = new CpuSessions(options);
  }

  get optimizerSteps(): number {
    return this.parameters.optimizerSteps;
  }
  set optimizerSteps(count: number) {
    this.parameters.optimizerSteps = count;
  }

  async run(kind: ProgramKind, bucket: ShapeBucket, batch: InputArrays): Promise<Map<string, Float32Array>> {
    const inputs: InputArrays = new Map([...this.frozen, ...this.viewsOf('weight', (name) => name), ...batch]);
    if (kind !== 'step') return this.sessions.run(kind, bucket, inputs);
    // Input and output of the accumulated gradient share one buffer: only the node that writes it reads it.
    for (const [name, view] of this.viewsOf('gradient', accumulatedName)) inputs.set(name, view);
    return this.sessions.run(kind, bucket, inputs, this.viewsOf('gradient', gradientName));
  }

  zeroGradient(): void {
    this.parameters.zeroGradient();
  }

  async gradientNorm(name?: string): Promise<number> {
    return this.parameters.gradientNorm(name);
  }

  async optimizerStep(scale: number, learningRate: number, settings: OptimizerSettings): Promise<void> {
    this.parameters.optimizerStep(scale, learningRate, settings);
  }

  loadFrozen(weights: Weights): void {
    for (const [name, shape] of frozenShapes(this.options.architecture, this.options.lora))
      this.frozen.set(name, expectTensor(weights, name, shape));
  }

  load(array: ParameterArray, tensors: Weights, prefix?: string): void {
    this.parameters.load(array, tensors, prefix);
  }

  async read(array: ParameterArray, prefix = ''): Promise<Weights> {
    const { parameters } = this;
    return new Map(Array.from(parameters.names, (name) => [prefix + name, parameters.view(array, name)]));
  }

  async copy(array: ParameterArray, prefix?: string): Promise<Weights> {
    return this.parameters.copy(array, prefix);
  }

  async close(): Promise<void> {
    await this.sessions.close();
  }

  private viewsOf(buffer: BufferName, nameOf: (parameter: string) => string): InputArrays {
    return new Map(Array.from(this.parameters.names, (name) => [nameOf(name), this.parameters.view(buffer, name)]));
  }
}
