// Finds the large ones among a vocabulary's logits without sorting it: 49,000 comparisons are cheap, 49,000 of anything
// else are not. The order is always: the larger logit first, and of equal ones the lower token.

/** The token of the largest of logits [V]. */
export function argmax(logits: Float32Array): number {
  let best = 0;
  let peak = logits[0]!;
  const look = (from: number, to: number) => {
    for (let token = from; token < to; token++) {
      if (!(logits[token]! > peak)) continue;
      best = token;
      peak = logits[token]!;
    }
  };
  // Four at a time, here and below: one branch that is hardly ever taken takes half as long as four.
  const fours = logits.length - (logits.length % 4);
  for (let at = 0; at < fours; at += 4) {
    if (logits[at]! > peak || logits[at + 1]! > peak || logits[at + 2]! > peak || logits[at + 3]! > peak)
      look(at, at + 4);
  }
  look(fours, logits.length);
  return best;
}

/** Every token whose logit is at least `floor`, in the order of the vocabulary. */
export function selectAtLeast(logits: Float32Array, floor: number): number[] {
  const tokens: number[] = [];
  const look = (from: number, to: number) => {
    for (let token = from; token < to; token++) if (logits[token]! >= floor) tokens.push(token);
  };
  const fours = logits.length - (logits.length % 4);
  for (let at = 0; at < fours; at += 4) {
    if (logits[at]! >= floor || logits[at + 1]! >= floor || logits[at + 2]! >= floor || logits[at + 3]! >= floor) {
      look(at, at + 4);
    }
  }
  look(fours, logits.length);
  return tokens;
}

/** Gathers with the floor `step` below the peak, then lower ones, until there is `enough`; all tokens where there never is. */
export function selectTopUntil(
  logits: Float32Array,
  peak: number,
  step: number,
  isEnough: (tokens: number[]) => boolean,
): number[] {
  for (const depth of [step, 2 * step]) {
    const tokens = selectAtLeast(logits, peak - depth);
    if (isEnough(tokens)) return tokens;
  }
  return Array.from(logits.keys());
}

/**
 * The fewest tokens, the first in order, whose sizes together reach `goal`; all of them where they do not. They come in
 * no order, and so do `tokens` after it. Quickselect: only the part that holds the border is looked at again.
 */
export function quickselectTop(
  tokens: number[],
  logits: Float32Array,
  goal: number,
  sizeOf: (token: number) => number,
): number[] {
  let start = 0;
  let end = tokens.length;
  let reached = 0;
  while (start < end) {
    const pivot = swap(tokens, (start + end) >> 1, end - 1);
    const logit = logits[pivot]!;
    let border = start;
    let before = 0;
    for (let at = start; at < end - 1; at++) {
      const token = tokens[at]!;
      if (logits[token]! < logit || (logits[token]! === logit && token > pivot)) continue;
      swap(tokens, at, border++);
      before += sizeOf(token);
    }
    if (border > start && reached + before >= goal) {
      end = border;
      continue;
    }
    swap(tokens, border, end - 1);
    reached += before + sizeOf(pivot);
    start = border + 1;
    if (reached >= goal) break;
  }
  return tokens.slice(0, start);
}

/** Returns what is at `to` afterwards. */
function swap(tokens: number[], from: number, to: number): number {
  const moved = tokens[from]!;
  tokens[from] = tokens[to]!;
  tokens[to] = moved;
  return moved;
}
