// Extents that are not known before a graph runs. While it is traced, each is a prime that nothing else is a multiple of,
// so that whatever tfjs computes from it (the elements of a reshaped tensor, twice the pairs) still says what it holds.

export class Dimensions {
  private readonly primes: ReadonlyMap<string, number>;

  /** By name; `primes` as choosePrimes gave them. */
  constructor(primes: ReadonlyMap<string, number> = new Map()) {
    this.primes = primes;
  }

  /** 6·S·T → 6 and [S, T] */
  split(extent: number): { factor: number; names: string[] } {
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

  isFree(extent: number): boolean {
    return this.split(extent).names.length > 0;
  }

  /** The extent as a graph declares it: a number, or what to call it. */
  label(extent: number): number | string {
    const { factor, names } = this.split(extent);
    if (names.length === 0) return factor;
    return factor === 1 ? names.join('*') : `${factor}*${names.join('*')}`;
  }
}

/** A prime for each name that divides none of the extents that are known. */
export function choosePrimes<Name extends string>(
  names: readonly Name[],
  known: Iterable<number>,
): Record<Name, number> {
  const taken = new Set(known);
  const primes: number[] = [];
  for (let candidate = 101; primes.length < names.length; candidate += 2) {
    const isPrime = !Array.from({ length: 30 }, (_, i) => i + 2).some((d) => d * d <= candidate && candidate % d === 0);
    if (isPrime && ![...taken].some((extent) => extent % candidate === 0)) primes.push(candidate);
  }
  return Object.fromEntries(names.map((name, i) => [name, primes[i]!])) as Record<Name, number>;
}
