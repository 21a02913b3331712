// Random numbers: unpredictable ones for seeds and for what is drawn once; and seeded ones for orders, demo data and test
// weights by mulberry32, with 32 bits of state, and the Fisher-Yates shuffle. Tokens are sampled from another generator, with a stream per choice (shared/decoder/random.ts).

/** 32 random bits. */
export function drawSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}

/** A uniform number in [0, 1). */
export function drawUniform(): number {
  return drawSeed() / 2 ** 32;
}

/** Uniform numbers in [0, 1), the same for the same seed. */
export function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A shuffled copy. */
export function shuffle<Item>(items: readonly Item[], random: () => number): Item[] {
  const shuffled = [...items];
  for (let at = shuffled.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [shuffled[at], shuffled[other]] = [shuffled[other]!, shuffled[at]!];
  }
  return shuffled;
}

/** The indices 0..count-1 in an order that depends on the seed alone. */
export function shuffledIndices(count: number, seed: number): number[] {
  return shuffle([...Array(count).keys()], mulberry32(seed));
}
