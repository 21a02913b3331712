// A client of the public HTTP API over fetch, with the retries that the server asks for and server-sent events.

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { AttuneError } from '../../shared/error.ts';

export type Side = { text: string; finish_reason: string };
export type Comparison = { id: string; a: Side; b: Side };
export type Completion = { model: string; choices: { text: string }[]; usage: { completion_tokens: number } };
export type Policy = { id: string; name: string; active: boolean; reference: string | null };
export type Health = { status: string; postgres: string; policy: string | null; candidate?: string | null };
export type Canary = {
  id: string;
  policy: string;
  state: 'running' | 'watching' | 'kept' | 'rolled_back' | 'expired' | 'cancelled';
  reason: string | null;
  evidence: { better: number; worse: number; threshold: number };
};
/** `better`, `worse`: log10 of E+ and E−. */
export type EvidencePoint = { votes: number; wins: number; losses: number; better: number; worse: number };
export type Round = {
  id: string;
  status: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';
  stage: string;
  reference: string | null;
  parent: string | null;
  policy: string | null;
  pairs: { train: number; new: number; replay: number; held_out: number } | null;
  metrics: Record<string, number> | null;
  reason: string | null;
};
export type Checkpoint = {
  step_number: number;
  split: 'train' | 'held_out';
  metrics: Record<string, number>;
  logps: { chosen: number[]; rejected: number[] } | null;
};
export type ServerEvent = { id: string | null; event: string; data: unknown };

export type Client = {
  url: string;
  get<T>(path: string): Promise<T>;
  post<T>(path: string, body: object): Promise<T>;
  /** Server-sent events until the server ends the stream. */
  events(path: string, lastEventId: string | null): AsyncGenerator<ServerEvent>;
};

const MAX_ATTEMPTS = 8;

/** Throws AttuneError when the server is unreachable or responds with an error that it does not mark as retryable. */
export function openClient(url: string, apiKey?: string): Client {
  const root = url.replace(/\/+$/, '');
  const authorization: Record<string, string> = apiKey ? { authorization: `Bearer ${apiKey}` } : {};

  const send = async (path: string, init: RequestInit): Promise<Response> => {
    for (let attempt = 1; ; attempt++) {
      const response = await fetch(`${root}${path}`, init).catch((error: unknown) => {
        throw toUnreachableError(root, error);
      });
      if (response.ok) return response;
      const isRetryable = response.headers.get('x-should-retry') === 'true' && attempt < MAX_ATTEMPTS;
      if (!isRetryable) throw await toApiError(path, response);
      await response.body?.cancel();
      const delayMs = Number(response.headers.get('retry-after-ms') ?? 1000);
      await new Promise((resolve) => setTimeout(resolve, delayMs * attempt));
    }
  };

  return {
    url: root,
    async get<T>(path: string) {
      return (await (await send(path, { headers: authorization })).json()) as T;
    },
    async post<T>(path: string, body: object) {
      const headers = { ...authorization, 'content-type': 'application/json' };
      return (await (await send(path, { method: 'POST', headers, body: JSON.stringify(body) })).json()) as T;
    },
    async *events(path, lastEventId) {
      const resume: Record<string, string> = lastEventId ? { 'last-event-id': lastEventId } : {};
      const response = await send(path, { headers: { ...authorization, ...resume } });
      yield* parseEvents(response.body!.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>));
    },
  };
}

/** Parses server-sent events whose data is JSON; an incomplete last event is dropped. */
export async function* parseEvents(text: ReadableStream<string>): AsyncGenerator<ServerEvent> {
  for await (const { id, event, data } of text.pipeThrough(new EventSourceParserStream()))
    yield { id: id ?? null, event: event ?? 'message', data: JSON.parse(data) };
}

function toUnreachableError(root: string, error: unknown): AttuneError {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  const reason = cause?.code ?? cause?.message ?? (error as Error).message;
  return new AttuneError(
    `demo: cannot connect to ${root} (${reason}); start a server there with \`attune start\`, or omit --url to start one for the demo`,
    { status: 503, code: 'unreachable' },
  );
}

async function toApiError(path: string, response: Response): Promise<AttuneError> {
  const text = await response.text();
  let message = text.slice(0, 200);
  try {
    message = (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    // Not an Attune error, perhaps a proxy's: report the start of its body.
  }
  if (response.status === 401) message += '; set API_KEY to a key of that server';
  return new AttuneError(`demo: ${path} responded with ${response.status}: ${message}`, { status: response.status });
}
