// Tokenization of pairs. Sampled pairs keep the tokens that were sampled; texts go through the policy's chat template. A
// pair that is too long is truncated: the prompt from the left, the response from the right. Both keep at least one token.

import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { Sequence } from '../engine/engine.ts';
import type { PreferencePair } from './pairs.ts';

export type TokenizedPair = {
  chosen: Sequence;
  rejected: Sequence;
  isPromptTruncated: boolean;
  isResponseTruncated: boolean;
};

/** In tokens; null: limited by the context length only. */
export type LengthLimits = { max_length: number | null; max_prompt_length: number | null };

/** The two sequences, or the reason to leave the pair out: an empty side, or two equal responses. */
export function tokenizePair(
  pair: PreferencePair,
  tokenizer: Tokenizer,
  architecture: Architecture,
  limits: LengthLimits,
): TokenizedPair | 'empty' | 'identical' {
  const [chosen, rejected] = encode(pair, tokenizer);
  const isEmpty = ({ promptIds, responseIds }: Sequence) => promptIds.length === 0 || responseIds.length === 0;
  if (isEmpty(chosen) || isEmpty(rejected)) return 'empty';

  const limit = Math.min(architecture.contextLength, limits.max_length ?? Infinity);
  const longest = Math.max(chosen.responseIds.length, rejected.responseIds.length);
  // A long prompt leaves the responses at least half of the context.
  const maxPrompt = Math.max(
    1,
    Math.min(limit - Math.min(longest, Math.ceil(limit / 2)), limits.max_prompt_length ?? Infinity),
  );
  const truncate = ({ promptIds, responseIds }: Sequence): Sequence => {
    const prompt = truncatePrompt(promptIds, maxPrompt, architecture.bos);
    return { promptIds: prompt, responseIds: responseIds.slice(0, limit - prompt.length) };
  };
  const fitted = { chosen: truncate(chosen), rejected: truncate(rejected) };
  if (isEmpty(fitted.chosen) || isEmpty(fitted.rejected)) return 'empty';
  if (fitted.chosen.responseIds.join() === fitted.rejected.responseIds.join()) return 'identical';
  const isTruncated = (part: keyof Sequence) =>
    fitted.chosen[part].length < chosen[part].length || fitted.rejected[part].length < rejected[part].length;
  return { ...fitted, isPromptTruncated: isTruncated('promptIds'), isResponseTruncated: isTruncated('responseIds') };
}

function encode(pair: PreferencePair, tokenizer: Tokenizer): [Sequence, Sequence] {
  if (pair.sampled) {
    const { promptIds, chosen, rejected } = pair.sampled;
    return [
      { promptIds, responseIds: chosen.responseIds },
      { promptIds, responseIds: rejected.responseIds },
    ];
  }
  const prompt =
    typeof pair.prompt === 'string' ? pair.prompt : tokenizer.renderChat(pair.prompt, { addGenerationPrompt: true });
  return [
    tokenizer.encodePair(prompt, pair.chosen, { eos: true }),
    tokenizer.encodePair(prompt, pair.rejected, { eos: true }),
  ];
}

/** Keeps the end of the prompt, and its beginning-of-text token. */
function truncatePrompt(promptIds: number[], maxTokens: number, bos: number | null): number[] {
  if (promptIds.length <= maxTokens) return promptIds;
  if (promptIds[0] === bos && maxTokens > 1) return [bos, ...promptIds.slice(1 - maxTokens)];
  return promptIds.slice(-maxTokens);
}
