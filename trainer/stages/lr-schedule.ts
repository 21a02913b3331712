// The learning rate through a round, as the released settings of the DIL paper have it (warm-up over a tenth, then half
// a cosine down to zero), when to look at held-out pairs, and the order in which pairs come.

export type RateSettings = { learning_rate: number; lr_schedule: 'cosine' | 'constant'; warm_up: number };

/** The learning rate of a step, 0 ≤ step < steps. */
export function learningRateAt(step: number, steps: number, how: RateSettings): number {
  const peak = how.learning_rate;
  const warm = Math.ceil(steps * how.warm_up);
  if (step < warm) return (peak * (step + 1)) / warm;
  if (how.lr_schedule === 'constant') return peak;
  return (peak * (1 + Math.cos((Math.PI * (step - warm)) / Math.max(1, steps - warm)))) / 2;
}

/** Looks cost at most this share of the training's tokens, taking a forward pass for a third of a step. */
const LOOK_SHARE = 0.2;
const LOOKS = 4;
const FEWEST_PAIRS = 16;

/** After which steps held-out pairs are looked at, and which pairs: as many as keep the looks cheap. */
export function planLooks<Pair>(
  { train, heldOut, how }: { train: Pair[]; heldOut: Pair[]; how: { epochs: number; effort: number } },
  steps: number,
): { at: Set<number>; pairs: Pair[] } {
  const looks = Math.min(steps, Math.ceil(LOOKS * how.effort));
  const affordable = Math.floor((3 * LOOK_SHARE * train.length * how.epochs) / looks);
  const pairs = heldOut.slice(0, Math.max(FEWEST_PAIRS, affordable));
  const at = Array.from({ length: looks }, (_, i) => Math.round(((i + 1) * steps) / looks));
  return { at: new Set(pairs.length > 0 ? at : []), pairs };
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
