// LoRA adapters (Hu et al. 2021, arXiv 2106.09685): W' = W + (α/r)·B·A for a frozen matrix W [out, in], where A [r, in]
// and B [out, r] are trained. B starts at zero, so training starts at the policy itself; published weights are merged.
import { seedRandom } from '../../shared/decoder/random.ts';
import { AttuneError } from '../../shared/error.ts';
import { type Architecture, REWARD_HEAD, weightShapes } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { adapterNames, LORA_SCALE } from '../model/parameters.ts';

export type LoraConfig = {
  rank: number;
  /** The scale times the rank. */
  alpha: number;
  /** The last parts of the names of the matrices that get an adapter: q_proj, down_proj, … */
  targets: readonly string[];
  /** Seed of A's initial values. Default: 0. */
  seed?: number;
};

type Shapes = Map<string, number[]>;

/** Shapes of the trained parameters: all weights, or the adapters and a reward's head. */
export function trainableShapes(a: Architecture, lora?: LoraConfig | null): Shapes {
  if (!lora) return weightShapes(a);
  const shapes: Shapes = new Map();
  for (const { name, out, into } of findTargets(a, lora)) {
    const { loraA, loraB } = adapterNames(name);
    shapes.set(loraA, [lora.rank, into]).set(loraB, [out, lora.rank]);
  }
  if (a.output === 'reward') shapes.set(REWARD_HEAD, weightShapes(a).get(REWARD_HEAD)!);
  return shapes;
}

/** Shapes of the untrained inputs of a program: with adapters, the weights and the adapters' scale. */
export function frozenShapes(a: Architecture, lora?: LoraConfig | null): Shapes {
  if (!lora) return new Map();
  const shapes = weightShapes(a).set(LORA_SCALE, []);
  shapes.delete(REWARD_HEAD);
  return shapes;
}

/** A uniform within ±√(3 / in), PEFT's default; B zero. */
export function initAdapters(a: Architecture, lora: LoraConfig): Weights {
  const adapters: Weights = new Map();
  for (const [stream, { name, out, into }] of findTargets(a, lora).entries()) {
    const uniform = seedRandom(lora.seed ?? 0, stream);
    const bound = Math.sqrt(3 / into);
    const { loraA, loraB } = adapterNames(name);
    const values = Float32Array.from({ length: lora.rank * into }, () => (2 * uniform() - 1) * bound);
    adapters.set(loraA, { shape: [lora.rank, into], data: values });
    adapters.set(loraB, { shape: [out, lora.rank], data: new Float32Array(out * lora.rank) });
  }
  return adapters;
}

/** The weights with W + scale · B A for each W that has an adapter; the other arrays are shared, not copied. */
export function mergeAdapters(a: Architecture, lora: LoraConfig, weights: Weights, adapters: Weights): Weights {
  const merged = new Map(weights);
  if (a.output === 'reward') merged.set(REWARD_HEAD, adapters.get(REWARD_HEAD)!);
  const scale = lora.alpha / lora.rank;
  for (const { name, out, into } of findTargets(a, lora)) {
    const { loraA, loraB } = adapterNames(name);
    const A = adapters.get(loraA)!.data;
    const B = adapters.get(loraB)!.data;
    const data = weights.get(`${name}.weight`)!.data.slice();
    const delta = new Float64Array(into); // one row of scale · B A, summed in double precision
    for (let row = 0; row < out; row++) {
      delta.fill(0);
      for (let k = 0; k < lora.rank; k++) {
        const factor = scale * B[row * lora.rank + k]!;
        for (let column = 0; column < into; column++) delta[column]! += factor * A[k * into + column]!;
      }
      for (let column = 0; column < into; column++) data[row * into + column]! += delta[column]!;
    }
    merged.set(`${name}.weight`, { shape: [out, into], data });
  }
  return merged;
}

function findTargets(a: Architecture, lora: LoraConfig): { name: string; out: number; into: number }[] {
  const targets = Array.from(weightShapes(a)).flatMap(([weight, shape]) => {
    const name = weight.replace(/\.weight$/, '');
    const isTarget = weight !== name && shape.length === 2 && lora.targets.includes(name.split('.').at(-1)!);
    return isTarget ? [{ name, out: shape[0]!, into: shape[1]! }] : [];
  });
  if (targets.length === 0)
    throw new AttuneError(
      `trainer: LORA_TARGETS names ${lora.targets.join(', ') || 'nothing'}, but this policy has no such matrix; leave it unset`,
      { code: 'invalid_lora' },
    );
  return targets;
}
