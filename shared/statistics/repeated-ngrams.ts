// How much of a response it has said before: the share of its 4-grams of tokens that occurred in it earlier. The trainer's gate
// and the guards of a canary measure repetition by it.

const NGRAM = 4;

/** More than any vocabulary has tokens, so that a pair of them is one exact number. */
const MAX_TOKENS = 2 ** 26;

/** The number of 4-grams of a response that occurred in it before, and of all its 4-grams. */
export function countRepeatedNgrams(tokens: readonly number[]): { repeated: number; total: number } {
  const total = Math.max(0, tokens.length - NGRAM + 1);
  // A 4-gram is two pairs, each by its number: a set of numbers is several times as fast as one of texts.
  const pairs = new Map<number, number>();
  const numbers = tokens.slice(1).map((token, at) => {
    const pair = tokens[at]! * MAX_TOKENS + token;
    const number = pairs.get(pair) ?? pairs.size;
    pairs.set(pair, number);
    return number;
  });
  const distinct = new Set<number>();
  for (let at = 0; at < total; at++) distinct.add(numbers[at]! * MAX_TOKENS + numbers[at + 2]!);
  return { repeated: total - distinct.size, total };
}

/** From 0 to 1; 0 for a response that is too short for any. */
export function repetitionShare(tokens: readonly number[]): number {
  const { repeated, total } = countRepeatedNgrams(tokens);
  return total === 0 ? 0 : repeated / total;
}
