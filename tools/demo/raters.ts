// Simulated raters that prefer happy stories, above all happy endings. Their score counts words from two lists, so anyone
// can check it by hand; it ignores grammar and meaning and is no model of human preferences.

export const POSITIVE_WORDS = toWordSet(`
  amazing beautiful best better brave bright cheered cheerful clapped comfortable cozy danced delicious delighted enjoyed
  enjoying excited excitedly fantastic favorite friend friends friendly fun funny gentle giggled giggling glad good
  grateful great grinned happier happily happiness happy heal healed helped helpful hooray hug hugged hugs joy joyful
  kind kindness kiss kissed laugh laughed laughing laughter love loved lovely loves loving lucky magical nice perfect
  proud proudly rainbow relieved safe safely sang shared sharing shiny smile smiled smiles smiling special sunny
  sunshine surprise sweet thank thanked thankful thanks together warm wonderful yay yummy`);

export const NEGATIVE_WORDS = toWordSet(`
  afraid alone angrily angry ashamed awful bad bit bite bleeding broke broken careless cried crying cruel cry danger
  dangerous dark dead die died disappointed dirty embarrassed fell fight fighting fought frightened frowned frustrated
  fear greedy grumpy hate hated hit hungry hurt hurts ill jealous lonely lost mad mean mess messy nasty naughty nervous
  nobody ouch pain poor punished pushed regretted ruined rude sad sadly sadness scared scary scream screamed selfish
  shouted sick sorry stole stolen storm stuck tears terrible trouble ugly unhappy upset weak worried worry wrong yelled`);

/** The last part of a text, whose words count double. */
const ENDING_SHARE = 1 / 3;

export const SCORING_RULE =
  'The raters prefer happy stories, above all happy endings. ' +
  `Each of ${POSITIVE_WORDS.size} positive words (“smiled”, “friend”, “together”, …) in the continuation adds 1 to its score and each of ` +
  `${NEGATIVE_WORDS.size} negative words (“cried”, “scared”, “alone”, …) subtracts 1. A word in the last third of the text counts double. ` +
  'Each word counts once, so repeating it does not raise the score.';

/** The raters' score of a continuation; the prompt is not scored. */
export function scoreText(text: string): number {
  const words = text.toLowerCase().match(/[a-z]+/g) ?? [];
  const ending = words.length * (1 - ENDING_SHARE);
  // Later entries overwrite earlier ones: a word counts at its last occurrence.
  const lastIndex = new Map(words.map((word, at) => [word, at]));
  let score = 0;
  for (const [word, at] of lastIndex) {
    const weight = at >= ending ? 2 : 1;
    if (POSITIVE_WORDS.has(word)) score += weight;
    if (NEGATIVE_WORDS.has(word)) score -= weight;
  }
  return score;
}

export type Choice = 'a' | 'b' | 'tie';

/** `errorRate`: share of random votes. `tieThreshold`: smaller score differences are ties. */
export type Rater = { name: string; errorRate: number; tieThreshold: number };

/** Half of the raters are of each kind. */
export const RATER_KINDS: readonly Rater[] = [
  { name: 'simulated-careful', errorRate: 0, tieThreshold: 3 },
  { name: 'simulated-hasty', errorRate: 0.1, tieThreshold: 3 },
];
/** So many that a canary is decided although few votes of each count (CANARY_RATER_VOTES). */
const RATER_COUNT = 20;

export const RATERS: readonly Rater[] = Array.from({ length: RATER_COUNT }, (_, at) => {
  const kind = RATER_KINDS[at % RATER_KINDS.length]!;
  return { ...kind, name: `${kind.name}-${Math.floor(at / RATER_KINDS.length) + 1}` };
});

export function chooseText(rater: Rater, a: string, b: string, random: () => number): Choice {
  if (random() < rater.errorRate) return random() < 0.5 ? 'a' : 'b';
  const difference = scoreText(a) - scoreText(b);
  if (Math.abs(difference) < rater.tieThreshold) return 'tie';
  return difference > 0 ? 'a' : 'b';
}

function toWordSet(list: string): ReadonlySet<string> {
  return new Set(list.trim().split(/\s+/));
}
