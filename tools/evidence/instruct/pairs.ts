// Real preferences for an instruct policy: one pair for each comparison, with its majority's choice, through the policy's
// chat template, split by a hash of the prompt.
import { createReadStream } from 'node:fs';
import { hashContent } from '../../../shared/digest.ts';
import { AttuneError } from '../../../shared/error.ts';
import type { Architecture } from '../../../shared/model/architecture.ts';
import { parsePreferences } from '../../../shared/preferences/import.ts';
import type { PreferenceRecord } from '../../../shared/preferences/record.ts';
import { shuffledIndices } from '../../../shared/random.ts';
import type { Tokenizer } from '../../../shared/tokenizer/tokenizer.ts';
import { tokenizePair } from '../../../trainer/data/tokens.ts';
import type { Sequence } from '../../../trainer/engine/engine.ts';
import type { InstructConfig } from './config.ts';

export type TextPair = { prompt: string; chosen: string; rejected: string };
export type InstructPair = { chosen: Sequence; rejected: Sequence; text: TextPair };
export type InstructSplits = { train: InstructPair[]; validation: InstructPair[]; test: InstructPair[]; read: number };

/** Throws AttuneError if there are too few pairs that are short enough. */
export async function readInstructPairs(
  files: readonly string[],
  tokenizer: Tokenizer,
  architecture: Architecture,
  config: InstructConfig,
): Promise<InstructSplits> {
  const comparisons = await readComparisons(files);
  const pairs = comparisons.flatMap((pair) => {
    const tokens = tokenizePair(
      { id: '', rater: '', sampled: null, isSteered: false, ...pair },
      tokenizer,
      architecture,
      {
        max_length: null,
        max_prompt_length: null,
      },
    );
    if (typeof tokens === 'string' || tokens.isPromptTruncated || tokens.isResponseTruncated) return [];
    const { chosen, rejected } = tokens;
    const length = Math.max(...[chosen, rejected].map((side) => side.promptIds.length + side.responseIds.length));
    if (length > config.maxTokens) return [];
    const text = {
      prompt: tokenizer.decode(chosen.promptIds, { special: true }),
      chosen: pair.chosen,
      rejected: pair.rejected,
    };
    return [{ chosen, rejected, text }];
  });
  const { trainPairs, validationPairs, testPairs } = config;
  const splits: InstructSplits = { train: [], validation: [], test: [], read: comparisons.length };
  const shares: [keyof InstructSplits & ('train' | 'validation' | 'test'), number][] = [
    ['test', testPairs],
    ['validation', validationPairs],
    ['train', trainPairs],
  ];
  const total = trainPairs + validationPairs + testPairs;
  for (const index of shuffledIndices(pairs.length, config.seed)) {
    const pair = pairs[index]!;
    // By the prompt, so that no two splits share one.
    let place = (Number.parseInt(hashContent(pair.chosen.promptIds).slice(0, 8), 16) / 2 ** 32) * total;
    const [name] = shares.find(([, share]) => {
      place -= share;
      return place < 0;
    })!;
    splits[name].push(pair);
  }
  for (const [name, share] of shares) {
    if (splits[name].length < 0.8 * share)
      throw new AttuneError(
        `evidence: --pairs has ${pairs.length} pairs of at most ${config.maxTokens} tokens, ${splits[name].length} of them for ${name}; about ${total} are needed in all`,
      );
    splits[name] = splits[name].slice(0, share);
  }
  return splits;
}

/** Each comparison once, with what most of its raters chose; ties are left out. */
async function readComparisons(files: readonly string[]): Promise<RatedTexts[]> {
  const votes = new Map<string, { record: PreferenceRecord; lead: number }>();
  for (const file of files) {
    for await (const item of parsePreferences(createReadStream(file))) {
      if ('error' in item) continue;
      const { record } = item;
      const key = hashContent([record.prompt, record.a, record.b]);
      const counted = votes.get(key) ?? { record, lead: 0 };
      counted.lead += record.choice === 'a' ? 1 : record.choice === 'b' ? -1 : 0;
      votes.set(key, counted);
    }
  }
  return [...votes.values()]
    .filter(({ lead }) => lead !== 0)
    .map(({ record: { prompt, a, b }, lead }) => ({
      prompt,
      chosen: lead > 0 ? a : b,
      rejected: lead > 0 ? b : a,
    }));
}

type RatedTexts = { prompt: PreferenceRecord['prompt']; chosen: string; rejected: string };
