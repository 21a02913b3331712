// The device of every machine: flat arrays in WebAssembly memory, programs traced to ONNX and run by ONNX Runtime on
// the CPU, AdamW as a WebAssembly kernel.
import type { Weights } from '../../../../shared/model/safetensors.ts';
import type { Arrays } from '../../batch.ts';
import { type Device, type DeviceOptions, type KeptArray, takeTensor } from '../../device.ts';
import type { OptimizerSettings } from '../../engine.ts';
import { frozenShapes, trainableShapes } from '../../lora.ts';
import { type Bucket, gradientName, heldName, type ProgramKind } from '../../programs.ts';
import type { ArrayName } from './adamw-kernel.ts';
import { Sessions } from './cpu-sessions.ts';
import { FlatParameters } from './parameter-buffers.ts';

export class OnnxDevice implements Device {
  private readonly parameters: FlatParameters;
  private readonly frozen: Arrays = new Map();
  private readonly options: DeviceOptions;
  private readonly sessions: Sessions;

  constructor(options: DeviceOptions, provider?: 'cpu' | 'cuda') {
    this.options = options;
    this.parameters = new FlatParameters(trainableShapes(options.architecture, options.lora));
    this.sessions = new Sessions({ ...options, provider });
  }

  get steps(): number {
    return this.parameters.steps;
  }
  set steps(count: number) {
    this.parameters.steps = count;
  }

  async run(kind: ProgramKind, bucket: Bucket, batch: Arrays): Promise<Map<string, Float32Array>> {
    const inputs: Arrays = new Map([...this.frozen, ...this.viewsOf('weight', (name) => name), ...batch]);
    if (kind !== 'step') return this.sessions.run(kind, bucket, inputs);
    // Read and written in one place: what is held is read by the node alone that writes it anew.
    for (const [name, view] of this.viewsOf('gradient', heldName)) inputs.set(name, view);
    return this.sessions.run(kind, bucket, inputs, this.viewsOf('gradient', gradientName));
  }

  clearGradient(): void {
    this.parameters.clearGradient();
  }

  async gradientNorm(name?: string): Promise<number> {
    return this.parameters.gradientNorm(name);
  }

  async update(scale: number, learningRate: number, settings: OptimizerSettings): Promise<void> {
    this.parameters.update(scale, learningRate, settings);
  }

  freeze(weights: Weights): void {
    for (const [name, shape] of frozenShapes(this.options.architecture, this.options.lora))
      this.frozen.set(name, takeTensor(weights, name, shape));
  }

  load(array: KeptArray, tensors: Weights, prefix?: string): void {
    this.parameters.load(array, tensors, prefix);
  }

  async copy(array: KeptArray, prefix?: string): Promise<Weights> {
    return this.parameters.copy(array, prefix);
  }

  async close(): Promise<void> {
    await this.sessions.close();
  }

  private viewsOf(array: ArrayName, nameOf: (parameter: string) => string): Arrays {
    return new Map(Array.from(this.parameters.names, (name) => [nameOf(name), this.parameters.view(array, name)]));
  }
}
