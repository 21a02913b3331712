// What a policy says to a prompt, as it says it, without being stored.

import { ApiError } from '../../api.ts';
import { streamPost } from '../../event-stream.ts';

export type Answer = { text: string; error: string | null; tokens: number; seconds: number | null };
export type AnswerRequest = { prompt: string; isChat: boolean; seed: number; temperature: number; maxTokens: number };

export const NOTHING: Answer = { text: '', error: null, tokens: 0, seconds: null };

type Chunk = { choices: { text?: string; delta?: { content?: string } }[] };

export async function answer(
  model: string,
  { prompt, isChat, seed, temperature, maxTokens }: AnswerRequest,
  signal: AbortSignal,
  update: (change: Partial<Answer>) => void,
): Promise<void> {
  const began = performance.now();
  const body = {
    model,
    seed,
    temperature,
    max_tokens: maxTokens,
    store: false,
    ...(isChat ? { messages: [{ role: 'user', content: prompt }] } : { prompt }),
  };
  let text = '';
  let tokens = 0;
  try {
    const path = isChat ? '/v1/chat/completions' : '/v1/completions';
    for await (const { choices } of streamPost<Chunk>(path, body, signal)) {
      const piece = choices[0]?.text ?? choices[0]?.delta?.content ?? '';
      if (piece === '') continue;
      text += piece;
      tokens++;
      update({ text, tokens });
    }
    update({ seconds: (performance.now() - began) / 1000 });
  } catch (error) {
    if (!signal.aborted) update({ error: error instanceof ApiError ? error.message : String(error) });
  }
}
