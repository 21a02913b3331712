// Dynamic dimensions of a traced graph. While tracing, each is a prime number that divides no other extent, so that any
// extent that tfjs computes from them (the size of a reshaped tensor, twice the pairs) can be factored back into names.

export class SymbolicDimensions {
  private readonly primes: ReadonlyMap<string, number>;

  /** Primes by name, from `choosePrimes`. */
  constructor(primes: ReadonlyMap<string, number> = new Map()) {
    this.primes = primes;
  }

  /** 6·S·T → 6 and [S, T] */
  factorize(extent: number): { factor: number; names: string[] } {
    let factor = extent;
    const names: string[] = [];
    for (const [name, prime] of this.primes) {
      while (factor > 0 && factor % prime === 0) {
        factor /= prime;
        names.push(name);
      }
    }
    return { factor, names };
  }

  isDynamic(extent: number): boolean {
    return this.factorize(extent).names.length > 0;
  }

  /** The extent as ONNX declares it: a number, or the name of a dynamic dimension. */
  toOnnxDimension(extent: number): number | string {
    const { factor, names } = this.factorize(extent);
    if (names.length === 0) return factor;
    return factor === 1 ? names.join('*') : `${factor}*${names.join('*')}`;
  }
}

/** A prime for each name; none divides any of the static extents. */
export function choosePrimes<Name extends string>(
  names: readonly Name[],
  staticExtents: Iterable<number>,
): Record<Name, number> {
  const extents = [...new Set(staticExtents)];
  const primes: number[] = [];
  for (let candidate = 101; primes.length < names.length; candidate += 2) {
    const isPrime = !Array.from({ length: 30 }, (_, i) => i + 2).some((d) => d * d <= candidate && candidate % d === 0);
    if (isPrime && !extents.some((extent) => extent % candidate === 0)) primes.push(candidate);
  }
  return Object.fromEntries(names.map((name, i) => [name, primes[i]!])) as Record<Name, number>;
}
