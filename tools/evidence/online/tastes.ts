// Simulated raters of stated tastes, with noise: a taste is a utility of a text, standardized over the root's responses,
// and a rater's vote is a Bradley-Terry draw, P(a ≻ b) = σ(s·(u(a) − u(b))). Anyone can check a utility by hand; none is
// a model of human preferences.
import { scoreText } from '../../demo/raters.ts';
import { mean } from '../../report/statistics.ts';

export const TASTES = {
  /** Happy words less unhappy ones, those of the ending twice: the raters of the demo. */
  happy: scoreText,
  /** The share of letters that stand in quotation marks. */
  dialogue: (text: string) => {
    const spoken = text.split('"').filter((_, at) => at % 2 === 1);
    return countLetters(spoken.join('')) / Math.max(1, countLetters(text));
  },
  /** Short sentences of short words: the terms of the Flesch-Kincaid grade, with letters for syllables. */
  simple: (text: string) => {
    const words = text.match(/[A-Za-z']+/g) ?? [];
    const sentences = text.match(/[.!?]+/g) ?? [];
    return (
      -0.39 * (words.length / Math.max(1, sentences.length)) - 4 * (countLetters(text) / Math.max(1, words.length))
    );
  },
  /** Long responses, up to the limit of tokens: the taste that is easiest to exploit. */
  long: (text: string) => text.length,
} satisfies Record<string, (text: string) => number>;

export type TasteName = keyof typeof TASTES;

/** Nats of a comparison for one standard deviation of utility: about four votes in five go to the better response. */
const SENSITIVITY = 2;

/** How raters vote: by their taste, by a coin, or for the response that they like less. */
export type Votes = 'taste' | 'random' | 'inverted';

export type Taste = { name: TasteName; utility(text: string): number };

/** A taste whose utility has mean 0 and standard deviation 1 over `texts`. */
export function standardizeTaste(name: TasteName, texts: readonly string[]): Taste {
  const raw = TASTES[name];
  const values = texts.map(raw);
  const centre = mean(values);
  const deviation = Math.sqrt(mean(values.map((value) => (value - centre) ** 2))) || 1;
  return { name, utility: (text) => (raw(text) - centre) / deviation };
}

/** Which of two utilities a rater votes for; null: the rater sees no difference and the pair is a tie. */
export function vote(a: number, b: number, votes: Votes, random: () => number): 'a' | 'b' | null {
  if (a === b) return null;
  const difference = votes === 'random' ? 0 : votes === 'inverted' ? b - a : a - b;
  return random() < 1 / (1 + Math.exp(-SENSITIVITY * difference)) ? 'a' : 'b';
}

function countLetters(text: string): number {
  return text.match(/[A-Za-z]/g)?.length ?? 0;
}
