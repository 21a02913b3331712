// All parameters as five long arrays in one WebAssembly memory: weights, gradient, a second gradient to accumulate
// from, and AdamW's two moments. ONNX Runtime reads and writes them in place. Memory is touched, and so taken from the
// machine, only when it is used: an engine that only scores pays for the weights alone.
import { AttuneError } from '../../shared/error.ts';
import type { Tensor, Weights } from '../../shared/policy/safetensors.ts';
import { type AdamwSettings, type Kernels, openKernels } from './adamw.ts';
import type { OptimizerSettings } from './engine.ts';

const ARRAYS = ['weight', 'gradient', 'part', 'first', 'second'] as const;
export type ArrayName = (typeof ARRAYS)[number];

const PAGE = 65536;
/** WebAssembly addresses are 32 bits. */
const MAX_PAGES = 65535;
/** Each parameter begins on a cache line. */
const ALIGNMENT = 16;

type Place = { shape: number[]; offset: number; length: number; padded: number };

export class FlatParameters {
  private readonly places = new Map<string, Place>();
  private readonly total: number;
  private readonly memory: WebAssembly.Memory;
  private readonly kernels: Kernels;
  steps = 0;

  constructor(shapes: ReadonlyMap<string, number[]>) {
    let offset = 0;
    for (const [name, shape] of shapes) {
      const length = shape.reduce((product, extent) => product * extent, 1);
      const padded = Math.ceil(length / ALIGNMENT) * ALIGNMENT;
      this.places.set(name, { shape, offset, length, padded });
      offset += padded;
    }
    this.total = offset;
    const pages = Math.ceil((offset * 4 * ARRAYS.length) / PAGE);
    if (pages > MAX_PAGES)
      throw new AttuneError(
        `trainer: ${offset} parameters are more than the ${Math.floor((MAX_PAGES * PAGE) / 4 / ARRAYS.length)} that this engine trains; choose a smaller policy`,
        { code: 'policy_too_large' },
      );
    this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    this.kernels = openKernels(this.memory);
  }

  get names(): Iterable<string> {
    return this.places.keys();
  }

  /** One parameter's elements, in place. */
  view(array: ArrayName, name: string): Tensor {
    const place = this.placeOf(name);
    return { shape: place.shape, data: new Float32Array(this.memory.buffer, this.address(array, place), place.length) };
  }

  load(array: ArrayName, tensors: Weights, prefix = ''): void {
    for (const [name, { shape }] of this.places) {
      const given = tensors.get(prefix + name);
      if (!given || given.shape.join() !== shape.join())
        throw new AttuneError(
          `trainer: tensor ${prefix}${name} ${given ? `has shape [${given.shape}]` : 'is missing'}, expected [${shape}]; the weights are another policy's`,
          { code: 'invalid_checkpoint' },
        );
      this.view(array, name).data.set(given.data);
    }
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

  /** gradient += part */
  accumulate(): void {
    this.kernels.add(this.start('gradient'), this.start('part'), this.total);
  }

  gradientNorm(): number {
    return Math.sqrt(this.kernels.sumOfSquares(this.start('gradient'), this.total));
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
      const at = (array: ArrayName) => this.address(array, place);
      this.kernels.adamw(at('weight'), at('first'), at('second'), at('gradient'), place.padded, ...numbers);
    }
  }

  private start(array: ArrayName): number {
    return ARRAYS.indexOf(array) * this.total * 4;
  }

  private address(array: ArrayName, { offset }: Place): number {
    return this.start(array) + offset * 4;
  }

  private placeOf(name: string): Place {
    const place = this.places.get(name);
    if (!place) throw new Error(`internal: flat parameters: no ${name}`);
    return place;
  }
}
