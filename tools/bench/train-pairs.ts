// Random preference pairs for all trainers: seeded, with realistic lengths, two responses per prompt. Every token is a whole
// word, so that any tokenizer restores the same tokens from their texts.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { seedRandom } from '../../shared/decoder/random.ts';
import type { TrainPair } from '../../trainer/engine/engine.ts';

export type Pair = { prompt: number[]; chosen: number[]; rejected: number[] };
export type PairText = { prompt: string; chosen: string; rejected: string };
/** Reference log-probability of each response token. */
export type ReferenceLogps = { chosen: number[]; rejected: number[] };
/** A word's token id and text, with its leading space. */
export type Word = { id: number; text: string };
/** `eos`: the token that trainers append to a response. */
export type Vocabulary = { words: Word[]; bos: number; eos: number };

/** Minimum and maximum number of tokens, BOS and EOS included. The longest pair fits a context of 256. */
export const LENGTH_RANGES = { prompt: [16, 64], response: [32, 192] } as const;

/** Each pair has its own random stream, so that a larger count extends the same pairs. */
export function randomPairs({ words, bos, eos }: Vocabulary, count: number, seed: number): Pair[] {
  return Array.from({ length: count }, (_, stream) => {
    const uniform = seedRandom(seed, stream);
    const integer = (from: number, to: number) => from + Math.floor(uniform() * (to - from + 1));
    const draw = (length: number) => Array.from({ length }, () => words[integer(0, words.length - 1)]!.id);
    const { prompt, response } = LENGTH_RANGES;
    return {
      prompt: [bos, ...draw(integer(...prompt) - 1)],
      chosen: [...draw(integer(...response) - 1), eos],
      rejected: [...draw(integer(...response) - 1), eos],
    };
  });
}

export function toTexts({ words }: Vocabulary, pairs: Pair[]): PairText[] {
  const texts = new Map(words.map(({ id, text }) => [id, text]));
  const join = (ids: number[]) => ids.map((id) => texts.get(id) ?? '').join('');
  // Tokenizers add the first space, and trainers the EOS.
  return pairs.map(({ prompt, chosen, rejected }) => ({
    prompt: join(prompt).slice(1),
    chosen: join(chosen),
    rejected: join(rejected),
  }));
}

/** The tokens that are a space and one to three lowercase letters, sorted by id. */
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

/** The pair in the form of Attune's engine. */
export function toTrainPair({ prompt, chosen, rejected }: Pair, refs: ReferenceLogps): TrainPair {
  return {
    chosen: { promptIds: prompt, responseIds: chosen },
    rejected: { promptIds: prompt, responseIds: rejected },
    refChosenLogps: Float32Array.from(refs.chosen),
    refRejectedLogps: Float32Array.from(refs.rejected),
  };
}
