// Random preference pairs for all trainers: seeded, with realistic lengths, two responses per prompt. Every token is a whole
// word, so that any tokenizer restores the same tokens from their texts.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { seedRandom } from '../../shared/decoder/random.ts';
import { AttuneError } from '../../shared/error.ts';
import { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { TrainPair } from '../../trainer/engine/engine.ts';

export type Pair = { prompt: number[]; chosen: number[]; rejected: number[] };
export type PairText = { prompt: string; chosen: string; rejected: string };
/** Reference log-probability of each response token. */
export type ReferenceLogps = { chosen: number[]; rejected: number[] };
/** A word's token id and text, with its leading space. */
export type Word = { id: number; text: string };
/**
 * `prefix`: what the tokenizer adds before a text, BOS or nothing; `eos`: the token that trainers append to a response.
 * `addsSpace`: whether the tokenizer adds a space before a text, as Llama's does and GPT-2's does not.
 */
export type Vocabulary = { words: Word[]; prefix: number[]; eos: number; addsSpace: boolean };

/** Minimum and maximum number of tokens, BOS and EOS included. The longest pair fits a context of 256. */
export const LENGTH_RANGES = { prompt: [16, 64], response: [32, 192] } as const;

/** Each pair has its own random stream, so that a larger count extends the same pairs. */
export function randomPairs({ words, prefix, eos }: Vocabulary, count: number, seed: number): Pair[] {
  return Array.from({ length: count }, (_, stream) => {
    const uniform = seedRandom(seed, stream);
    const integer = (from: number, to: number) => from + Math.floor(uniform() * (to - from + 1));
    const draw = (length: number) => Array.from({ length }, () => words[integer(0, words.length - 1)]!.id);
    const { prompt, response } = LENGTH_RANGES;
    return {
      prompt: [...prefix, ...draw(integer(...prompt) - prefix.length)],
      chosen: [...draw(integer(...response) - 1), eos],
      rejected: [...draw(integer(...response) - 1), eos],
    };
  });
}

export function toTexts({ words, addsSpace }: Vocabulary, pairs: Pair[]): PairText[] {
  const texts = new Map(words.map(({ id, text }) => [id, text]));
  const join = (ids: number[]) => ids.map((id) => texts.get(id) ?? '').join('');
  // Trainers add the EOS.
  return pairs.map(({ prompt, chosen, rejected }) => ({
    prompt: join(prompt).slice(addsSpace ? 1 : 0),
    chosen: join(chosen),
    rejected: join(rejected),
  }));
}

/** A space, as SentencePiece and GPT-2's byte-level BPE write it, and one to three lowercase letters. */
const SHORT_WORD = /^[▁Ġ]([a-z]{1,3})$/;

/** The tokens that are short words, sorted by id. */
export async function readVocabulary(folder: string): Promise<Vocabulary> {
  const tokenizer = await Tokenizer.open(folder);
  const { model } = JSON.parse(await readFile(path.join(folder, 'tokenizer.json'), 'utf8'));
  const words = Object.entries<number>(model.vocab)
    .flatMap(([piece, id]) => {
      const letters = SHORT_WORD.exec(piece)?.[1];
      return letters ? [{ id, text: ` ${letters}` }] : [];
    })
    .sort((a, b) => a.id - b.id);
  const [first] = words;
  const [eos] = tokenizer.eos;
  if (!first || eos === undefined) {
    const problem = first ? 'there is no EOS token' : 'no token is a space and one to three lowercase letters';
    throw new AttuneError(`--model: tokenizer.json: ${problem}; measure a model with the tokenizer of Llama or GPT-2`);
  }
  const [withoutSpace] = tokenizer.encode(first.text.trimStart(), { special: false });
  return { words, prefix: tokenizer.encode(''), eos, addsSpace: withoutSpace === first.id };
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
