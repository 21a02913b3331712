// All parameters as four long arrays: weights, gradient and AdamW's two moments,
// each in a WebAssembly memory of its own. ONNX Runtime reads and writes them in place. Memory is touched, and so taken
// from the machine, only when it is used: an engine that only scores pays for the weights alone.
import { AttuneError } from '../../../../shared/error.ts';
import type { Tensor, Weights } from '../../../../shared/model/safetensors.ts';
import { takeTensor } from '../../device.ts';
import type { OptimizerSettings } from '../../engine.ts';
import { sizeOf } from '../../trace/graph.ts';
import { type AdamwSettings, ARRAYS, type ArrayName, beginningOf, type Kernels, openKernels } from './adamw-kernel.ts';

const PAGE = 65536;
/** WebAssembly addresses are 32 bits. */
const MAX_PAGES = 65535;
/** Each parameter begins on a cache line. */
const ALIGNMENT = 16;

type Place = { shape: number[]; offset: number; length: number; padded: number };

export class FlatParameters {
  private readonly places = new Map<string, Place>();
  private readonly total: number;
  private readonly memories: Record<ArrayName, WebAssembly.Memory>;
  private readonly kernels: Kernels;
  steps = 0;

  constructor(shapes: ReadonlyMap<string, number[]>) {
    let offset = 0;
    for (const [name, shape] of shapes) {
      const length = sizeOf(shape);
      const padded = Math.ceil(length / ALIGNMENT) * ALIGNMENT;
      this.places.set(name, { shape, offset, length, padded });
      offset += padded;
    }
    this.total = offset;
    const pages = Math.ceil((offset * 4) / PAGE) + 1; // one more for where an array begins
    if (pages > MAX_PAGES)
      throw new AttuneError(
        `trainer: ${offset} parameters are more than the ${(MAX_PAGES * PAGE) / 4} that this engine trains; set LORA_RANK or choose a smaller policy`,
        { code: 'policy_too_large' },
      );
    const reserve = () => new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.memories = Object.fromEntries(ARRAYS.map((array) => [array, reserve()])) as typeof this.memories;
    this.kernels = openKernels(this.memories);
  }

  get names(): Iterable<string> {
    return this.places.keys();
  }

  /** One parameter's elements, in place. */
  view(array: ArrayName, name: string): Tensor {
    const { shape, offset, length } = this.placeOf(name);
    return { shape, data: new Float32Array(this.memories[array].buffer, beginningOf(array) + offset * 4, length) };
  }

  load(array: ArrayName, tensors: Weights, prefix = ''): void {
    for (const [name, { shape }] of this.places)
      this.view(array, name).data.set(takeTensor(tensors, prefix + name, shape).data);
  }

  /** Copies, safe to keep. */
  copy(array: ArrayName, prefix = ''): Weights {
    return new Map(
      Array.from(this.places, ([name, { shape }]) => [
        prefix + name,
        { shape, data: this.view(array, name).data.slice() },
      ]),
    );
  }

  clearGradient(): void {
    for (const name of this.places.keys()) this.view('gradient', name).data.fill(0);
  }

  /** Of everything, or of one parameter. */
  gradientNorm(name?: string): number {
    const { offset, padded } = name ? this.placeOf(name) : { offset: 0, padded: this.total };
    return Math.sqrt(this.kernels.sumOfSquares(offset * 4, padded));
  }

  /** One AdamW step from `gradient` times `scale`. */
  update(scale: number, learningRate: number, settings: OptimizerSettings): void {
    this.steps++;
    const { beta1, beta2, epsilon, weightDecay } = settings;
    const rate = learningRate / (1 - beta1 ** this.steps);
    const correction = 1 / Math.sqrt(1 - beta2 ** this.steps);
    for (const place of this.places.values()) {
      const decay = place.shape.length > 1 ? 1 - learningRate * weightDecay : 1;
      const numbers: AdamwSettings = [scale, rate, correction, decay, beta1, 1 - beta1, beta2, 1 - beta2, epsilon];
      this.kernels.adamw(place.offset * 4, place.padded, ...numbers);
    }
  }

  private placeOf(name: string): Place {
    const place = this.places.get(name);
    if (!place) throw new Error(`internal: flat parameters: no ${name}`);
    return place;
  }
}
