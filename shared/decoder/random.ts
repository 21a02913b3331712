// xoshiro128** (Blackman and Vigna, https://prng.di.unimi.it), seeded by splitmix32. Each choice has its own stream and
// draws once per token, so that its text depends on its seed and not on the batch.

/** Uniform numbers in [0, 1) with 53 random bits, the same for the same seed and stream. */
export function seedRandom(seed: number, stream: number): () => number {
  // The bits of the float64: any number is a seed, and seeds beyond 32 bits differ too.
  const [low, high] = new Uint32Array(Float64Array.of(seed).buffer) as unknown as [number, number];
  const mix = splitmix(low ^ splitmix(high ^ splitmix(stream)())());
  let [a, b, c, d] = [mix(), mix(), mix(), mix() | 1];

  function next(): number {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotate(d, 11);
    return result;
  }
  return () => ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
}

function splitmix(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return z ^ (z >>> 15);
  };
}

function rotate(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}
