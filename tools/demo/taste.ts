// The taste of the simulated raters: happy stories, above all happy endings. It is a word count that anyone can check
// by hand; it knows nothing of grammar or sense and claims nothing about what people like.

export const HAPPY = words(`
  amazing beautiful best better brave bright cheered cheerful clapped comfortable cozy danced delicious delighted enjoyed
  enjoying excited excitedly fantastic favorite friend friends friendly fun funny gentle giggled giggling glad good
  grateful great grinned happier happily happiness happy heal healed helped helpful hooray hug hugged hugs joy joyful
  kind kindness kiss kissed laugh laughed laughing laughter love loved lovely loves loving lucky magical nice perfect
  proud proudly rainbow relieved safe safely sang shared sharing shiny smile smiled smiles smiling special sunny
  sunshine surprise sweet thank thanked thankful thanks together warm wonderful yay yummy`);

export const SAD = words(`
  afraid alone angrily angry ashamed awful bad bit bite bleeding broke broken careless cried crying cruel cry danger
  dangerous dark dead die died disappointed dirty embarrassed fell fight fighting fought frightened frowned frustrated
  fear greedy grumpy hate hated hit hungry hurt hurts ill jealous lonely lost mad mean mess messy nasty naughty nervous
  nobody ouch pain poor punished pushed regretted ruined rude sad sadly sadness scared scary scream screamed selfish
  shouted sick sorry stole stolen storm stuck tears terrible trouble ugly unhappy upset weak worried worry wrong yelled`);

/** The part of a story that counts as its ending. */
const ENDING = 1 / 3;

export const TASTE =
  `Happy stories, above all happy endings. Each happy word in the text (${HAPPY.size} words such as “smiled”, “friend” or ` +
  `“together”) adds 1 and each sad one (${SAD.size} words such as “cried”, “scared” or “alone”) takes 1 away; a word in the last third ` +
  'of the text counts double, and no word counts more than once, so saying it again wins nothing.';

/** How much the taste likes a continuation; the prompt is not scored. */
export function scoreStory(text: string): number {
  const found = text.toLowerCase().match(/[a-z]+/g) ?? [];
  const ending = found.length * (1 - ENDING);
  // Later occurrences overwrite earlier ones: a word counts where it stands last.
  const last = new Map(found.map((word, at) => [word, at]));
  let score = 0;
  for (const [word, at] of last) {
    const weight = at >= ending ? 2 : 1;
    if (HAPPY.has(word)) score += weight;
    if (SAD.has(word)) score -= weight;
  }
  return score;
}

export type Choice = 'a' | 'b' | 'tie';

/** A rater has the taste, calls a small difference a tie, and now and then votes at random, as people do. */
export type Rater = { name: string; carelessness: number; threshold: number };

export const RATERS: readonly Rater[] = [
  { name: 'simulated-careful', carelessness: 0, threshold: 3 },
  { name: 'simulated-hasty', carelessness: 0.1, threshold: 3 },
];

export function vote(rater: Rater, a: string, b: string, random: () => number): Choice {
  if (random() < rater.carelessness) return random() < 0.5 ? 'a' : 'b';
  const difference = scoreStory(a) - scoreStory(b);
  if (Math.abs(difference) < rater.threshold) return 'tie';
  return difference > 0 ? 'a' : 'b';
}

function words(list: string): ReadonlySet<string> {
  return new Set(list.trim().split(/\s+/));
}
