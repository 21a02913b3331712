// The learning rate through a round: linear warm-up over the first tenth, then half a cosine down to zero, as the
// released settings of the DIL paper have it.

const WARM_UP = 0.1;

/** The learning rate of a step, 0 ≤ step < steps. */
export function learningRateAt(step: number, steps: number, peak: number): number {
  const warm = Math.ceil(steps * WARM_UP);
  if (step < warm) return (peak * (step + 1)) / warm;
  return (peak * (1 + Math.cos((Math.PI * (step - warm)) / Math.max(1, steps - warm)))) / 2;
}

/** The indices 0..n-1 in an order that depends on the seed alone (mulberry32 and Fisher-Yates). */
export function shuffle(n: number, seed: number): number[] {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const order = Array.from({ length: n }, (_, index) => index);
  for (let at = n - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [order[at], order[other]] = [order[other]!, order[at]!];
  }
  return order;
}
