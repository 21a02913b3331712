// Pairs as the model eats them. What one of our policies sampled keeps its very tokens; texts are tokenized through
// the policy's own template. Responses that do not fit the context are cut, never to nothing.

import type { Architecture } from '../../shared/policy/architecture.ts';
import type { Tokenizer } from '../../shared/policy/tokenizer.ts';
import type { Sequence } from '../engine/engine.ts';
import type { Candidate } from './pairs.ts';

export type TokenPair = { chosen: Sequence; rejected: Sequence };

/** The two sequences, or null where the prompt leaves no room for a response. */
export function tokenizePair(pair: Candidate, tokenizer: Tokenizer, architecture: Architecture): TokenPair | null {
  if (pair.sampled) {
    const { prompt, chosen, rejected } = pair.sampled;
    return fit({ promptIds: prompt, responseIds: chosen }, { promptIds: prompt, responseIds: rejected }, architecture);
  }
  const prompt =
    typeof pair.prompt === 'string' ? pair.prompt : tokenizer.renderChat(pair.prompt, { addGenerationPrompt: true });
  return fit(
    tokenizer.encodePair(prompt, pair.chosen, { eos: true }),
    tokenizer.encodePair(prompt, pair.rejected, { eos: true }),
    architecture,
  );
}

function fit(chosen: Sequence, rejected: Sequence, { contextLength }: Architecture): TokenPair | null {
  const cut = (sequence: Sequence): Sequence => ({
    promptIds: sequence.promptIds,
    responseIds: sequence.responseIds.slice(0, contextLength - sequence.promptIds.length),
  });
  const pair = { chosen: cut(chosen), rejected: cut(rejected) };
  return pair.chosen.responseIds.length > 0 && pair.rejected.responseIds.length > 0 ? pair : null;
}
