// The requests that the torture sends, one builder for each kind, and what the client may believe about one of them
// afterwards: it was stored, it was not, or nobody knows.

import { randomUUID } from 'node:crypto';
import { EventSourceParserStream } from 'eventsource-parser/stream';

export const KINDS = ['raw', 'vote', 'comparison', 'stream'] as const;
export type Kind = (typeof KINDS)[number];

/** The API waits at most 10 s for a connection to Postgres and 20 s for a statement. */
export const DEADLINE_MS = 35_000;

export type Outgoing = {
  kind: Kind;
  /** In the metadata of the row that this request stores. */
  mark: string;
  key: string | null;
  path: string;
  body: object;
};

export type Answer =
  | { outcome: 'acknowledged'; id: string; texts: string[] }
  /** An error in the API's shape that does not leave it open whether something was stored. */
  | { outcome: 'not stored'; status: number; message: string }
  | { outcome: 'unknown'; isLate: boolean; message: string };

/** Some are JSON, some are what SQL or a template could misread. */
const TEXTS = [
  '0',
  'null',
  '"q"',
  '{"a":1}',
  '[]',
  "it's; drop table",
  '{{ x }}',
  '🦊🦊',
  'línea\nnueva',
  ' ',
  '\\u0000',
];

export function buildRequest(kind: Kind, isKeyed: boolean, comparison: string, random: () => number): Outgoing {
  const mark = randomUUID();
  const pick = () => TEXTS[Math.floor(random() * TEXTS.length)]!;
  const sampling = { max_tokens: 4, metadata: { mark } };
  const messages = [{ role: 'user', content: `Once ${pick()}` }];
  const request = { kind, mark, key: isKeyed ? `key ${mark}` : null };
  switch (kind) {
    case 'raw': {
      const texts = { prompt: pick(), chosen: `yes ${pick()}`, rejected: pick() };
      const body = { ...texts, rater: `torture ${mark}`, metadata: { mark } };
      return { ...request, path: '/v1/preferences', body };
    }
    case 'vote': {
      const body = { comparison, choice: random() < 0.5 ? 'a' : 'b', rater: mark, metadata: { mark } };
      return { ...request, path: '/v1/preferences', body };
    }
    case 'comparison':
      return { ...request, path: '/v1/comparisons', body: { messages, ...sampling } };
    case 'stream':
      return { ...request, path: '/v1/chat/completions', body: { messages, ...sampling, stream: true, store: true } };
  }
}

/** Sends it once. Never throws. */
export async function send(url: string, request: Outgoing): Promise<Answer> {
  const signal = AbortSignal.timeout(DEADLINE_MS);
  try {
    const response = await fetch(url + request.path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(request.key ? { 'idempotency-key': request.key } : {}) },
      body: JSON.stringify(request.body),
      signal,
    });
    if (!response.ok) return toRefusal(response.status, await response.text());
    return request.kind === 'stream' ? await readStream(response) : readAnswer(request, await response.json());
  } catch (error) {
    const { cause } = error as { cause?: Error };
    return { outcome: 'unknown', isLate: signal.aborted, message: String(cause ?? error) };
  }
}

type Json = Record<string, unknown>;
type Side = { text: string };

/** `texts`: what the row must contain. */
function readAnswer({ kind, body }: Outgoing, json: Json): Answer {
  const answer = { outcome: 'acknowledged', id: json.id as string } as const;
  const sent = body as Record<string, string>;
  if (kind === 'raw') return { ...answer, texts: [sent.prompt!, sent.chosen!, sent.rejected!] };
  if (kind === 'vote') return { ...answer, texts: [sent.comparison!, sent.choice!] };
  return { ...answer, texts: [(json.a as Side).text, (json.b as Side).text] };
}

async function readStream(response: Response): Promise<Answer> {
  let id = '';
  let content = '';
  const text = response.body!.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>);
  for await (const { data } of text.pipeThrough(new EventSourceParserStream())) {
    if (data === '[DONE]') return { outcome: 'acknowledged', id, texts: [content] };
    const chunk = JSON.parse(data);
    if (chunk.error) return toRefusal(503, data);
    id = chunk.id;
    content += chunk.choices[0]?.delta.content ?? '';
  }
  return { outcome: 'unknown', isLate: false, message: 'the stream ended without [DONE]' };
}

/** An error of another shape, or one that hides its reason, says nothing about what was stored. */
function toRefusal(status: number, text: string): Answer {
  const { message, code } = parseError(text);
  const says = `${status} ${code ?? ''}: ${message}`;
  if (status === 500 || code === null || code === 'postgres_outcome_unknown')
    return { outcome: 'unknown', isLate: false, message: says };
  return { outcome: 'not stored', status, message: says };
}

function parseError(text: string): { message: string; code: string | null } {
  try {
    const { message, code } = JSON.parse(text).error;
    return { message, code: code ?? 'none' };
  } catch {
    return { message: text.slice(0, 200), code: null };
  }
}
