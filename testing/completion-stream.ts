// Reads a streamed completion and records its text, the gaps between chunks and the policy ids in them.

import { EventSourceParserStream } from 'eventsource-parser/stream';
import type { Json } from './edge-server.ts';

export type CompletionStream = {
  status: number;
  /** The generation's id; '' before it is known. */
  id: string;
  text: string;
  /** Every policy id in a chunk. */
  policies: Set<string>;
  /** Milliseconds between chunks; with logprobs there is a chunk for each token, without one for each piece of text. */
  gaps: number[];
  /** Ended with `[DONE]` and without an error. */
  isComplete: boolean;
  error: string | null;
};

/** POST /v1/completions with stream: true, read to the end. Never throws; `error` has the reason. */
export async function readStream(url: string, body: Json, onToken: () => void = () => {}): Promise<CompletionStream> {
  const result: CompletionStream = {
    status: 0,
    id: '',
    text: '',
    policies: new Set(),
    gaps: [],
    isComplete: false,
    error: null,
  };
  let last = 0;
  try {
    const response = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...body, stream: true }),
    });
    result.status = response.status;
    if (response.status !== 200) return { ...result, error: await response.text() };
    const text = response.body!.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>);
    for await (const { data } of text.pipeThrough(new EventSourceParserStream())) {
      if (data === '[DONE]') {
        result.isComplete = result.error === null;
        continue;
      }
      const chunk: Json = JSON.parse(data);
      if (chunk.error) {
        result.error = data;
        continue;
      }
      result.policies.add(chunk.model).add(chunk.system_fingerprint);
      const [choice] = chunk.choices;
      result.id = choice?.generation_id ?? result.id;
      result.text += choice?.text ?? '';
      if (!choice || choice.finish_reason) continue;
      const now = performance.now();
      if (last > 0) result.gaps.push(now - last);
      last = now;
      onToken();
    }
  } catch (error) {
    result.error = String(error);
  }
  return result;
}
