// Pairs as the model eats them. What one of our policies sampled keeps its very tokens; texts are tokenized through
// the policy's own template. What is too long is cut: a prompt at its beginning, a response at its end, never to nothing.

import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { Sequence } from '../engine/engine.ts';
import type { Candidate } from './pairs.ts';

export type TokenPair = { chosen: Sequence; rejected: Sequence; promptIsCut: boolean; responseIsCut: boolean };

/** In tokens; null where only the context limits. */
export type LengthLimits = { max_length: number | null; max_prompt_length: number | null };

/** The two sequences, or why there are none: nothing is left of a side, or nothing tells the two apart. */
export function tokenizePair(
  pair: Candidate,
  tokenizer: Tokenizer,
  architecture: Architecture,
  limits: LengthLimits,
): TokenPair | 'empty' | 'identical' {
  const [chosen, rejected] = encode(pair, tokenizer);
  const isEmpty = ({ promptIds, responseIds }: Sequence) => promptIds.length === 0 || responseIds.length === 0;
  if (isEmpty(chosen) || isEmpty(rejected)) return 'empty';

  const limit = Math.min(architecture.contextLength, limits.max_length ?? Infinity);
  const longest = Math.max(chosen.responseIds.length, rejected.responseIds.length);
  // A long prompt leaves a response half of the room.
  const promptRoom = Math.max(
    1,
    Math.min(limit - Math.min(longest, Math.ceil(limit / 2)), limits.max_prompt_length ?? Infinity),
  );
  const cut = ({ promptIds, responseIds }: Sequence): Sequence => {
    const prompt = cutPrompt(promptIds, promptRoom, architecture.bos);
    return { promptIds: prompt, responseIds: responseIds.slice(0, limit - prompt.length) };
  };
  const fitted = { chosen: cut(chosen), rejected: cut(rejected) };
  if (isEmpty(fitted.chosen) || isEmpty(fitted.rejected)) return 'empty';
  if (fitted.chosen.responseIds.join() === fitted.rejected.responseIds.join()) return 'identical';
  const isCut = (part: keyof Sequence) =>
    fitted.chosen[part].length < chosen[part].length || fitted.rejected[part].length < rejected[part].length;
  return { ...fitted, promptIsCut: isCut('promptIds'), responseIsCut: isCut('responseIds') };
}

function encode(pair: Candidate, tokenizer: Tokenizer): [Sequence, Sequence] {
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

/** The end of a prompt, which a response follows from; the token that begins every text stays. */
function cutPrompt(promptIds: number[], room: number, bos: number | null): number[] {
  if (promptIds.length <= room) return promptIds;
  if (promptIds[0] === bos && room > 1) return [bos, ...promptIds.slice(1 - room)];
  return promptIds.slice(-room);
}
