// The API as the demo uses it, over plain fetch: what any other client could do. It waits where the server says to try
// again, and says in one line what is wrong where nothing answers.

import { AttuneError } from '../../shared/error.ts';

export type Side = { text: string; finish_reason: string };
export type Comparison = { id: string; a: Side; b: Side };
export type Completion = { model: string; choices: { text: string }[]; usage: { completion_tokens: number } };
export type Policy = { id: string; name: string; active: boolean; reference: string | null };
export type Health = { status: string; postgres: string; policy: string | null };
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

const TRIES = 8;

export function openClient(url: string, apiKey?: string): Client {
  const root = url.replace(/\/+$/, '');
  const authorization: Record<string, string> = apiKey ? { authorization: `Bearer ${apiKey}` } : {};

  const send = async (path: string, init: RequestInit): Promise<Response> => {
    for (let tried = 1; ; tried++) {
      const response = await fetch(`${root}${path}`, init).catch((error: unknown) => {
        throw unreachable(root, error);
      });
      if (response.ok) return response;
      const again = response.headers.get('x-should-retry') === 'true' && tried < TRIES;
      if (!again) throw await refusal(path, response);
      await response.body?.cancel();
      const wait = Number(response.headers.get('retry-after-ms') ?? 1000);
      await new Promise((resolve) => setTimeout(resolve, wait * tried));
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
      yield* readEvents(response.body!.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>));
    },
  };
}

/** Splits a stream of text into server-sent events, however it is cut. */
export async function* readEvents(texts: AsyncIterable<string>): AsyncGenerator<ServerEvent> {
  let rest = '';
  for await (const text of texts) {
    const blocks = (rest + text).split(/\r?\n\r?\n/);
    rest = blocks.pop()!;
    for (const block of blocks) {
      const fields = new Map<string, string>();
      for (const line of block.split(/\r?\n/)) {
        const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (name) fields.set(name, fields.has(name) ? `${fields.get(name)}\n${value}` : value!);
      }
      const data = fields.get('data');
      if (data !== undefined)
        yield { id: fields.get('id') ?? null, event: fields.get('event') ?? 'message', data: JSON.parse(data) };
    }
  }
}

function unreachable(root: string, error: unknown): AttuneError {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause;
  const why = cause?.code ?? cause?.message ?? (error as Error).message;
  return new AttuneError(
    `demo: nothing answers at ${root} (${why}); start Attune there with \`attune start\`, or leave --url out and the demo starts its own`,
    { status: 503, code: 'unreachable' },
  );
}

async function refusal(path: string, response: Response): Promise<AttuneError> {
  const text = await response.text();
  let message = text.slice(0, 200);
  try {
    message = (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    // Not ours, perhaps a proxy's; its first words are all there is to tell.
  }
  if (response.status === 401) message += '; set API_KEY to a key of that Attune';
  return new AttuneError(`demo: ${path} was answered ${response.status}: ${message}`, { status: response.status });
}
