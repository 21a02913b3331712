// Log-probabilities in the shape of OpenAI's chat completions.

import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import type { TokenEvent } from '../engine/inference.ts';

const encoder = new TextEncoder();

/** One entry per token: its text, bytes, log-probability and the most likely alternatives. */
export function toTokenLogprobs(tokenizer: Tokenizer, events: TokenEvent[]) {
  const toEntry = (tokenId: number, logprob: number) => {
    const token = tokenizer.textOf(tokenId);
    return { token, logprob, bytes: [...encoder.encode(token)] };
  };
  return events.map((event) => ({
    ...toEntry(event.tokenId, event.logprob),
    top_logprobs: event.topLogprobs.map((top) => toEntry(top.tokenId, top.logprob)),
  }));
}
