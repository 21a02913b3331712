// Low-rank adapters (Hu et al. 2021): beside a frozen matrix W [out, in], scale · B A with A [rank, in] and B [out, rank]
// is trained. B begins as zeros, so training begins at the policy itself; what is published has them merged.
import { seedRandom } from '../../shared/decoder/random.ts';
import { AttuneError } from '../../shared/error.ts';
import { type Architecture, weightShapes } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/safetensors.ts';
import { adapterNames, SCALE } from '../model/parameters.ts';
import type { Device } from './device.ts';

export type LoraSettings = {
  rank: number;
  /** The scale times the rank. */
  alpha: number;
  /** The last parts of the names of the matrices that get an adapter: q_proj, down_proj, … */
  targets: readonly string[];
  /** Of the adapters' first values. */
  seed?: number;
};

type LoraOptions = { architecture: Architecture; lora?: LoraSettings | null };
type Shapes = Map<string, number[]>;

/** What gradients are taken of: all weights, or the adapters. */
export function trainableShapes(a: Architecture, lora?: LoraSettings | null): Shapes {
  if (!lora) return weightShapes(a);
  const shapes: Shapes = new Map();
  for (const { name, out, into } of targetsOf(a, lora)) {
    const { down, up } = adapterNames(name);
    shapes.set(down, [lora.rank, into]).set(up, [out, lora.rank]);
  }
  return shapes;
}

/** What a program needs besides: with adapters, the weights themselves and the adapters' scale. */
export function frozenShapes(a: Architecture, lora?: LoraSettings | null): Shapes {
  return lora ? weightShapes(a).set(SCALE, []) : new Map();
}

/** Puts a policy on a device, as it is trained there. */
export function loadPolicy(device: Device, weights: Weights, { architecture, lora }: LoraOptions): void {
  if (!lora) {
    device.load('weight', weights);
    return;
  }
  device.freeze(new Map(weights).set(SCALE, { shape: [], data: Float32Array.of(lora.alpha / lora.rank) }));
  device.load('weight', startAdapters(architecture, lora));
}

/** A uniform within ±√(3 / in), as adapters usually begin; B zero. */
export function startAdapters(a: Architecture, lora: LoraSettings): Weights {
  const adapters: Weights = new Map();
  for (const [stream, { name, out, into }] of targetsOf(a, lora).entries()) {
    const uniform = seedRandom(lora.seed ?? 0, stream);
    const bound = Math.sqrt(3 / into);
    const { down, up } = adapterNames(name);
    const drawn = Float32Array.from({ length: lora.rank * into }, () => (2 * uniform() - 1) * bound);
    adapters.set(down, { shape: [lora.rank, into], data: drawn });
    adapters.set(up, { shape: [out, lora.rank], data: new Float32Array(out * lora.rank) });
  }
  return adapters;
}

/** The weights with W + scale · B A in place of each W that has an adapter; the others are the same arrays. */
export function mergeAdapters(a: Architecture, lora: LoraSettings, weights: Weights, adapters: Weights): Weights {
  const merged = new Map(weights);
  const scale = lora.alpha / lora.rank;
  for (const { name, out, into } of targetsOf(a, lora)) {
    const { down, up } = adapterNames(name);
    const A = adapters.get(down)!.data;
    const B = adapters.get(up)!.data;
    const data = weights.get(`${name}.weight`)!.data.slice();
    const change = new Float64Array(into);
    for (let row = 0; row < out; row++) {
      change.fill(0);
      for (let k = 0; k < lora.rank; k++) {
        const share = scale * B[row * lora.rank + k]!;
        for (let column = 0; column < into; column++) change[column]! += share * A[k * into + column]!;
      }
      for (let column = 0; column < into; column++) data[row * into + column]! += change[column]!;
    }
    merged.set(`${name}.weight`, { shape: [out, into], data });
  }
  return merged;
}

function targetsOf(a: Architecture, lora: LoraSettings): { name: string; out: number; into: number }[] {
  const targets = Array.from(weightShapes(a)).flatMap(([weight, shape]) => {
    const name = weight.replace(/\.weight$/, '');
    const isTarget = weight !== name && shape.length === 2 && lora.targets.includes(name.split('.').at(-1)!);
    return isTarget ? [{ name, out: shape[0]!, into: shape[1]! }] : [];
  });
  if (targets.length === 0)
    throw new AttuneError(
      `trainer: LORA_TARGETS names ${lora.targets.join(', ') || 'nothing'}, none of which this policy has; leave it unset`,
      { code: 'invalid_lora' },
    );
  return targets;
}
