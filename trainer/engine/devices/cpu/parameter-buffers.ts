// The parameters in four flat buffers: weights, gradient and AdamW's two moments, each in its own WebAssembly memory,
// which ONNX Runtime reads and writes in place. The operating system commits memory when it is first written, so an
// engine that only scores uses memory for the weights alone.
import { AttuneError } from '../../../../shared/error.ts';
import type { Tensor, Weights } from '../../../../shared/model/tensor.ts';
import { expectTensor } from '../../device.ts';
import type { OptimizerSettings } from '../../engine.ts';
import { sizeOf } from '../../trace/symbolic-tensor.ts';
import {
  type AdamwSettings,
  BUFFERS,
  type BufferName,
  baseOffsetOf,
  type Kernels,
  openKernels,
} from './adamw-kernel.ts';

const PAGE_BYTES = 65536;
/** 4 GiB: WebAssembly addresses have 32 bits. */
const MAX_PAGES = 65535;
/** In floats: each parameter starts on a cache line. */
const ALIGNMENT = 16;

/** Offset and lengths in floats; `padded` is a multiple of ALIGNMENT. */
type ParameterSlot = { shape: number[]; offset: number; length: number; padded: number };

export class ParameterBuffers {
  private readonly slots = new Map<string, ParameterSlot>();
  private readonly total: number;
  private readonly memories: Record<BufferName, WebAssembly.Memory>;
  private readonly kernels: Kernels;
  optimizerSteps = 0;

  constructor(shapes: ReadonlyMap<string, number[]>) {
    let offset = 0;
    for (const [name, shape] of shapes) {
      const length = sizeOf(shape);
      const padded = Math.ceil(length / ALIGNMENT) * ALIGNMENT;
      this.slots.set(name, { shape, offset, length, padded });
      offset += padded;
    }
    this.total = offset;
    const pages = Math.ceil((offset * 4) / PAGE_BYTES) + 1; // one more for the buffer's base offset
    if (pages > MAX_PAGES)
      throw new AttuneError(
        `trainer: ${offset} parameters exceed the ${(MAX_PAGES * PAGE_BYTES) / 4} that this engine can train; set LORA_RANK or choose a smaller policy`,
        { code: 'policy_too_large' },
      );
    const reserve = () => new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.memories = Object.fromEntries(BUFFERS.map((buffer) => [buffer, reserve()])) as typeof this.memories;
    this.kernels = openKernels(this.memories);
  }

  get names(): Iterable<string> {
    return this.slots.keys();
  }

  /** A view of one parameter, not a copy. */
  view(buffer: BufferName, name: string): Tensor {
    const { shape, offset, length } = this.slotOf(name);
    return { shape, data: new Float32Array(this.memories[buffer].buffer, baseOffsetOf(buffer) + offset * 4, length) };
  }

  load(buffer: BufferName, tensors: Weights, prefix = ''): void {
    for (const [name, { shape }] of this.slots)
      this.view(buffer, name).data.set(expectTensor(tensors, prefix + name, shape).data);
  }

  /** Copies, safe to keep. */
  copy(buffer: BufferName, prefix = ''): Weights {
    return new Map(
      Array.from(this.slots, ([name, { shape }]) => [
        prefix + name,
        { shape, data: this.view(buffer, name).data.slice() },
      ]),
    );
  }

  zeroGradient(): void {
    for (const name of this.slots.keys()) this.view('gradient', name).data.fill(0);
  }

  /** The L2 norm of the whole gradient, or of one parameter's. */
  gradientNorm(name?: string): number {
    const { offset, padded } = name ? this.slotOf(name) : { offset: 0, padded: this.total };
    return Math.sqrt(this.kernels.sumOfSquares(offset * 4, padded));
  }

  /** One AdamW step with the gradient times `scale`. */
  optimizerStep(scale: number, learningRate: number, settings: OptimizerSettings): void {
    this.optimizerSteps++;
    const { beta1, beta2, epsilon, weightDecay } = settings;
    const rate = learningRate / (1 - beta1 ** this.optimizerSteps);
    const correction = 1 / Math.sqrt(1 - beta2 ** this.optimizerSteps);
    for (const slot of this.slots.values()) {
      // Gains and biases are not decayed.
      const decay = slot.shape.length > 1 ? 1 - learningRate * weightDecay : 1;
      const kernelSettings: AdamwSettings = [
        scale,
        rate,
        correction,
        decay,
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        epsilon,
      ];
      this.kernels.adamw(slot.offset * 4, slot.padded, ...kernelSettings);
    }
  }

  private slotOf(name: string): ParameterSlot {
    const slot = this.slots.get(name);
    if (!slot) throw new Error(`internal: parameter buffers: no ${name}`);
    return slot;
  }
}
