// Argmax and top-k over a vocabulary's logits without sorting them: 49,000 comparisons are cheap, 49,000 of anything else
// are not. The order is always by descending logit, and by ascending token id among equal logits.

/** logits [V] → the token with the largest logit. */
export function argmax(logits: Float32Array): number {
  let best = 0;
  let peak = logits[0]!;
  const scan = (from: number, to: number) => {
    for (let token = from; token < to; token++) {
      if (!(logits[token]! > peak)) continue;
      best = token;
      peak = logits[token]!;
    }
  };
  // Four at a time, here and below: one rarely taken branch takes half as long as four.
  const fours = logits.length - (logits.length % 4);
  for (let at = 0; at < fours; at += 4) {
    if (logits[at]! > peak || logits[at + 1]! > peak || logits[at + 2]! > peak || logits[at + 3]! > peak)
      scan(at, at + 4);
  }
  scan(fours, logits.length);
  return best;
}

/** Every token whose logit is at least `floor`, in ascending order of token ids. */
export function selectAtLeast(logits: Float32Array, floor: number): number[] {
  const tokens: number[] = [];
  const scan = (from: number, to: number) => {
    for (let token = from; token < to; token++) if (logits[token]! >= floor) tokens.push(token);
  };
  const fours = logits.length - (logits.length % 4);
  for (let at = 0; at < fours; at += 4) {
    if (logits[at]! >= floor || logits[at + 1]! >= floor || logits[at + 2]! >= floor || logits[at + 3]! >= floor) {
      scan(at, at + 4);
    }
  }
  scan(fours, logits.length);
  return tokens;
}

/** Selects the tokens within `gap` of the peak if `isEnough`, else those within twice the gap if enough, else all. */
export function selectTopUntil(
  logits: Float32Array,
  peak: number,
  gap: number,
  isEnough: (tokens: number[]) => boolean,
): number[] {
  for (const distance of [gap, 2 * gap]) {
    const tokens = selectAtLeast(logits, peak - distance);
    if (isEnough(tokens)) return tokens;
  }
  return Array.from(logits.keys());
}

/**
 * Quickselect: the smallest set of top tokens whose total size reaches `goal`; all tokens if their total is less. The
 * result is unordered, and `tokens` is reordered. Only the part that contains the boundary is partitioned again.
 */
export function quickselectTop(
  tokens: number[],
  logits: Float32Array,
  goal: number,
  getSize: (token: number) => number,
): number[] {
  let start = 0;
  let end = tokens.length;
  let reached = 0;
  while (start < end) {
    const pivot = swap(tokens, (start + end) >> 1, end - 1);
    const logit = logits[pivot]!;
    let boundary = start;
    let before = 0;
    for (let at = start; at < end - 1; at++) {
      const token = tokens[at]!;
      if (logits[token]! < logit || (logits[token]! === logit && token > pivot)) continue;
      swap(tokens, at, boundary++);
      before += getSize(token);
    }
    if (boundary > start && reached + before >= goal) {
      end = boundary;
      continue;
    }
    swap(tokens, boundary, end - 1);
    reached += before + getSize(pivot);
    start = boundary + 1;
    if (reached >= goal) break;
  }
  return tokens.slice(0, start);
}

/** Swaps two tokens; returns the one that is now at `to`. */
function swap(tokens: number[], from: number, to: number): number {
  const moved = tokens[from]!;
  tokens[from] = tokens[to]!;
  tokens[to] = moved;
  return moved;
}
