// A rater for a first round where nobody else votes yet: it prefers the story with more happy words, and says so. Its votes
// are votes on real comparisons, under the names of example raters.

import { api, ask, type Comparison } from '../../api.ts';

export const RULE = 'the story with more happy words, such as “smiled”, “friend” and “together”';

const HAPPY =
  /\b(happy|happily|smiled?|smiling|laugh(ed|ing)?|friends?|together|love[ds]?|fun|hug(ged)?|proud|kind|thank(ed)?|good|great|play(ed)?|safe|nice|glad|share[ds]?)\b/gi;
const KINDS = ['little', 'brave', 'lonely', 'sleepy', 'curious', 'young', 'tiny', 'grumpy', 'quiet', 'clever'];
const WHO = ['fox', 'girl', 'boy', 'bear', 'bird', 'cat', 'dog', 'robot', 'rabbit', 'mouse', 'frog', 'dragon'];
const WHERE = ['in the forest', 'by the sea', 'on a farm', 'in a big town', 'near a river', 'in the snow', 'at home'];

const IN_FLIGHT = 4;
/** Several, so that no rater has too large a share of the pairs (TRAIN_RATER_SHARE). */
const RATERS = 5;

/** A prompt, by a number; the next number is another one. Pairs of one prompt are all trained on, or all held out. */
export function makePrompt(at: number): string {
  const pick = (list: string[], step: number) => list[Math.floor(at / step) % list.length]!;
  return `Once upon a time, there was a ${pick(KINDS, 1)} ${pick(WHO, KINDS.length)} ${pick(WHERE, 3)}.`;
}

/** Different in most visits. */
export const drawOffset = () => Math.floor(Date.now() / 1000) % 1000;

/** Calls `onVote` after each vote. Throws what the API answers; stops when `signal` is aborted. */
export async function voteAsExample(count: number, onVote: () => void, signal: AbortSignal): Promise<void> {
  const offset = drawOffset();
  let next = 0;
  const work = async () => {
    while (next < count && !signal.aborted) {
      await voteOnce(offset + next++, signal);
      onVote();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
}

async function voteOnce(at: number, signal: AbortSignal): Promise<void> {
  const prompt = makePrompt(at);
  const { id, a, b } = (await ask(
    api.POST('/v1/comparisons', { body: { prompt, max_tokens: 64 }, signal }),
  )) as Comparison;
  const difference = countHappy(a.text) - countHappy(b.text);
  const choice = difference === 0 ? 'tie' : difference > 0 ? 'a' : 'b';
  const rater = `example-${(at % RATERS) + 1}`;
  await ask(api.POST('/v1/preferences', { body: { comparison: id, choice, rater }, signal }));
}

const countHappy = (text: string) => text.match(HAPPY)?.length ?? 0;
