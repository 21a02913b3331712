// Attune through its API: a server in a process of its own, with its Postgres, and streaming text completions over HTTP.
// Each generation is stored in Postgres, as in use. Memory is the server's; Postgres's comes on top.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Batch, type Stream, servePeer } from './peer.ts';

const SERVER = fileURLToPath(new URL('./attune-server.ts', import.meta.url));

servePeer(async ({ source, threads, batch }) => {
  const server = fork(SERVER, {
    env: {
      ...process.env,
      ATTUNE_HOME: source,
      PORT: '0',
      SERVE_THREADS: String(threads),
      MAX_ROWS: String(Math.max(16, batch.prompts.length)),
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  const url = await waitForUrl(server);
  return {
    generate({ prompts, tokens }: Batch) {
      const started = performance.now();
      return Promise.all(prompts.map((prompt) => generateOne(url, prompt, tokens, started)));
    },
    pid: server.pid!,
    async close() {
      server.disconnect();
      await ended;
    },
  };
});

function waitForUrl(server: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('message', (message: { url: string }) => resolve(message.url));
    server.once('exit', (code, signal) => reject(new Error(`the server ended (${signal ?? code}) before it listened`)));
  });
}

async function generateOne(url: string, prompt: number[], tokens: number, started: number): Promise<Stream> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    // With logprobs every token shows, also one whose text must wait for the next to be whole.
    body: JSON.stringify({ prompt, max_tokens: tokens, temperature: 0, stream: true, logprobs: 0 }),
  });
  if (!response.ok) throw new Error(`HTTP ${response.status}: ${await response.text()}`);
  const marks: number[] = [];
  for await (const data of readEvents(response.body!)) {
    const { choices, error } = JSON.parse(data) as Chunk;
    if (error) throw new Error(error.message);
    const now = performance.now() - started;
    for (const _ of choices?.[0]?.logprobs?.tokens ?? []) marks.push(now);
  }
  // Ids do not travel; nobody compares them here.
  return { marks, tokenIds: [] };
}

type Chunk = { choices?: { logprobs: { tokens: string[] } | null }[]; error?: { message: string } };

async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of body) {
    const events = (rest + decoder.decode(bytes, { stream: true })).split('\n\n');
    rest = events.pop()!;
    for (const event of events) {
      const data = event.replace(/^data: /, '');
      if (data !== '[DONE]') yield data;
    }
  }
}
