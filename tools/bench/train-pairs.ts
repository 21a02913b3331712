// The pairs that every trainer gets: seeded, with lengths as they come in practice, two responses to one prompt. Their
// tokens are whole words, so that their texts are the same tokens again in anybody's tokenizer.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { seedRandom } from '../../shared/decoder/random.ts';
import type { TrainPair } from '../../trainer/engine/engine.ts';

export type Pair = { prompt: number[]; chosen: number[]; rejected: number[] };
export type PairText = { prompt: string; chosen: string; rejected: string };
/** The reference's log-probability of each response token. */
export type References = { chosen: number[]; rejected: number[] };
/** A word's token id and its text, the space before it included. */
export type Word = { id: number; text: string };
/** `eos`: what trainers put after a response. */
export type Vocabulary = { words: Word[]; bos: number; eos: number };

/** Tokens, both ends included, the prompt's beginning and the response's end too. The longest fit a context of 256. */
export const LENGTHS = { prompt: [16, 64], response: [32, 192] } as const;

/** Each pair draws from its own stream: more pairs are the same ones and then others. */
export function drawPairs({ words, bos, eos }: Vocabulary, count: number, seed: number): Pair[] {
  return Array.from({ length: count }, (_, stream) => {
    const uniform = seedRandom(seed, stream);
    const whole = (from: number, to: number) => from + Math.floor(uniform() * (to - from + 1));
    const draw = (length: number) => Array.from({ length }, () => words[whole(0, words.length - 1)]!.id);
    const { prompt, response } = LENGTHS;
    return {
      prompt: [bos, ...draw(whole(...prompt) - 1)],
      chosen: [...draw(whole(...response) - 1), eos],
      rejected: [...draw(whole(...response) - 1), eos],
    };
  });
}

export function writeTexts({ words }: Vocabulary, pairs: Pair[]): PairText[] {
  const texts = new Map(words.map(({ id, text }) => [id, text]));
  const join = (ids: number[]) => ids.map((id) => texts.get(id) ?? '').join('');
  // Tokenizers put the first space there themselves, and trainers the end.
  return pairs.map(({ prompt, chosen, rejected }) => ({
    prompt: join(prompt).slice(1),
    chosen: join(chosen),
    rejected: join(rejected),
  }));
}

/** The tokens of a checkpoint's tokenizer that are a space and one to three small letters, in the order of their ids. */
export async function readVocabulary(folder: string): Promise<Vocabulary> {
  const read = async (name: string) => JSON.parse(await readFile(path.join(folder, name), 'utf8'));
  const pieces: Record<string, number> = (await read('tokenizer.json')).model.vocab;
  const { bos_token, eos_token } = await read('tokenizer_config.json');
  const words = Object.entries(pieces)
    .filter(([piece]) => /^▁[a-z]{1,3}$/.test(piece))
    .map(([piece, id]) => ({ id, text: piece.replace('▁', ' ') }))
    .sort((a, b) => a.id - b.id);
  return { words, bos: pieces[bos_token]!, eos: pieces[eos_token]! };
}

/** A pair as Attune's engine takes it. */
export function toTrainPair({ prompt, chosen, rejected }: Pair, refs: References): TrainPair {
  return {
    chosen: { promptIds: prompt, responseIds: chosen },
    rejected: { promptIds: prompt, responseIds: rejected },
    refChosenLogps: Float32Array.from(refs.chosen),
    refRejectedLogps: Float32Array.from(refs.rejected),
  };
}
