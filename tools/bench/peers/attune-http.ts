// Attune over HTTP: a server process with its Postgres, and streaming completions, each stored in Postgres. Reports the
// server's memory, without Postgres.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { type Batch, chooseKvMemory, handleServingPlan, type TokenStream } from './peer.ts';

const SERVER = fileURLToPath(new URL('./attune-server.ts', import.meta.url));

handleServingPlan(async ({ source, threads, kvBytes, batch }) => {
  const server = fork(SERVER, {
    env: {
      ...process.env,
      ATTUNE_HOME: source,
      PORT: '0',
      SERVE_THREADS: String(threads),
      MAX_ROWS: String(Math.max(16, batch.prompts.length)),
      KV_MEMORY: String(chooseKvMemory(kvBytes)),
    },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = new Promise((resolve) => server.once('exit', resolve));
  const url = await waitForServerUrl(server);
  return {
    generate({ prompts, tokens }: Batch) {
      const started = performance.now();
      return Promise.all(prompts.map((prompt) => generateOne(url, prompt, tokens, started)));
    },
    pid: server.pid!,
    async close() {
      server.disconnect();
      await exited;
    },
  };
});

function waitForServerUrl(server: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('message', (message: { url: string }) => resolve(message.url));
    server.once('exit', (code, signal) =>
      reject(new Error(`the server ended (${signal ?? code}) before it was ready`)),
    );
  });
}

async function generateOne(url: string, prompt: number[], tokens: number, started: number): Promise<TokenStream> {
  const response = await fetch(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    // With logprobs every token is visible, also one whose text is incomplete without the next.
    body: JSON.stringify({ prompt, max_tokens: tokens, temperature: 0, stream: true, logprobs: 0 }),
  });
  if (!response.ok) throw new Error(`HTTP ${response.status}: ${await response.text()}`);
  const tokenTimesMs: number[] = [];
  const events = response.body!.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const { data } of events) {
    if (data === '[DONE]') continue;
    const { choices, error } = JSON.parse(data) as Chunk;
    if (error) throw new Error(error.message);
    const now = performance.now() - started;
    for (const _ of choices?.[0]?.logprobs?.tokens ?? []) tokenTimesMs.push(now);
  }
  // The API does not return token ids.
  return { tokenTimesMs, tokenIds: [] };
}

type Chunk = { choices?: { logprobs: { tokens: string[] } | null }[]; error?: { message: string } };
