// A client of a streamed completion that notes what a test may ask: when each chunk came and which policies they name.

import type { Json } from './edge-server.ts';

export type Streamed = {
  status: number;
  /** The generation's id, once it is known. */
  id: string;
  text: string;
  /** Every policy that a chunk named. */
  policies: Set<string>;
  /** Milliseconds between chunks before the last; with logprobs there is one for each token, without, one for each text. */
  gaps: number[];
  /** Whether it came to its end: `[DONE]` and no error. */
  isWhole: boolean;
  error: string | null;
};

/** POST /v1/completions with stream: true, read to its end. Never throws: what went wrong is in `error`. */
export async function readStream(url: string, body: Json, onToken: () => void = () => {}): Promise<Streamed> {
  const seen: Streamed = { status: 0, id: '', text: '', policies: new Set(), gaps: [], isWhole: false, error: null };
  let last = 0;
  try {
    const response = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...body, stream: true }),
    });
    seen.status = response.status;
    if (response.status !== 200) return { ...seen, error: await response.text() };
    let rest = '';
    for await (const bytes of response.body!.pipeThrough(new TextDecoderStream())) {
      const events = (rest + bytes).split('\n\n');
      rest = events.pop()!;
      for (const event of events) {
        const data = event.slice(event.indexOf('data: ') + 6);
        if (data === '[DONE]') {
          seen.isWhole = seen.error === null;
          continue;
        }
        const chunk: Json = JSON.parse(data);
        if (chunk.error) {
          seen.error = data;
          continue;
        }
        seen.policies.add(chunk.model).add(chunk.system_fingerprint);
        const [choice] = chunk.choices;
        seen.id = choice?.generation_id ?? seen.id;
        seen.text += choice?.text ?? '';
        if (!choice || choice.finish_reason) continue;
        const now = performance.now();
        if (last > 0) seen.gaps.push(now - last);
        last = now;
        onToken();
      }
    }
  } catch (error) {
    seen.error = String(error);
  }
  return seen;
}
