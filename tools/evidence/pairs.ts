// Splits a preference file: held out by a hash of the prompt, without a secret, so that everyone gets the same split; of the rest, some pairs fine-tune the
// reference and the others are the pool that runs sample their training pairs from.
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Prompt } from '../../shared/chat-message.ts';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { parsePreferences } from '../../shared/preferences/import.ts';
import { shuffledIndices } from '../../shared/random.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { Sequence } from '../../trainer/engine/engine.ts';
import type { PreferenceStudyConfig } from './config.ts';

export type TokenPair = { chosen: Sequence; rejected: Sequence };

export type PairSplits = {
  warmUp: TokenPair[];
  /** The pool of training pairs, at least as many as one run uses. */
  train: TokenPair[];
  heldOut: TokenPair[];
  /** Strict preferences in the file, those within the token limit, and rows that could not be parsed. */
  counts: { read: number; short: number; invalid: number };
  /** Hash of all token ids, part of every run's cache key. */
  digest: string;
};

const HELD_OUT_SHARE = 0.2;

function isHeldOut(prompt: Prompt): boolean {
  return Number.parseInt(hashContent(prompt).slice(0, 8), 16) / 2 ** 32 < HELD_OUT_SHARE;
}

export async function readPairs(
  file: string,
  tokenizer: Tokenizer,
  architecture: Architecture,
  config: PreferenceStudyConfig,
): Promise<PairSplits> {
  const counts = { read: 0, short: 0, invalid: 0 };
  const train: TokenPair[] = [];
  const heldOut: TokenPair[] = [];
  const maxTokens = Math.min(config.maxTokens, architecture.contextLength);
  await stat(file).catch(() => {
    throw new AttuneError(`evidence: --pairs ${file} not found; pass a file that attune preferences import reads`);
  });
  for await (const item of parsePreferences(createReadStream(file))) {
    if ('error' in item) {
      counts.invalid++;
      continue;
    }
    const { prompt, a, b, choice } = item.record;
    if (choice !== 'a' && choice !== 'b') continue;
    counts.read++;
    // stories15M has no chat template: a blank line separates the instruction from the response.
    const text = typeof prompt === 'string' ? prompt : tokenizer.renderChat(prompt, { addGenerationPrompt: true });
    const encode = (response: string) => tokenizer.encodePair(`${text}\n\n`, response, { eos: true });
    const [chosen, rejected] = choice === 'a' ? [encode(a), encode(b)] : [encode(b), encode(a)];
    if (Math.max(...[chosen, rejected].map((s) => s.promptIds.length + s.responseIds.length)) > maxTokens) continue;
    counts.short++;
    isHeldOut(prompt) ? heldOut.push({ chosen, rejected }) : train.push({ chosen, rejected });
  }
  const order = shuffledIndices(train.length, 0).map((index) => train[index]!);
  const splits = {
    warmUp: order.slice(0, config.warmUpPairs),
    train: order.slice(config.warmUpPairs),
    heldOut: shuffledIndices(heldOut.length, 0)
      .slice(0, config.heldOutPairs)
      .map((index) => heldOut[index]!),
  };
  const needed = config.warmUpPairs + config.trainPairs;
  if (splits.train.length < config.trainPairs || splits.heldOut.length === 0)
    throw new AttuneError(
      `evidence: ${file} has ${counts.short} strict preferences of at most ${maxTokens} tokens, ${train.length} of them for training; needs ${needed} for training and at least one held out`,
    );
  return { ...splits, counts, digest: hashContent(splits) };
}
