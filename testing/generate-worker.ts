// The smallest Worker that computes a policy, for tests of it: what it is asked for comes as JSON, and every event of the
// generations goes back as a line of JSON.
import type { R2Bucket } from '@cloudflare/workers-types';
import { LocalPolicies } from '../edge/cloudflare/local-policies.ts';
import type { GenerationEvent, GenerationInput, LoadedPolicy } from '../edge/engine/inference.ts';
import { AttuneError } from '../shared/error.ts';
import type { Manifest } from '../shared/package/manifest.ts';
import { openR2Store } from '../shared/store/r2.ts';
import type { PolicyStore } from '../shared/store/store.ts';

export type GenerateRequest = { manifest: Manifest; inputs: GenerationInput[] };
/** DELAY: milliseconds that the store takes to begin with a file. */
export type Env = {
  POLICIES: R2Bucket;
  DELAY_MS: number;
  MAX_BYTES: number;
  KV_MEMORY: number;
  MAX_ROWS: number;
  MAX_QUEUE: number;
};

let policies: LocalPolicies | undefined;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    policies ??= new LocalPolicies({
      store: delay(openR2Store(env.POLICIES), env.DELAY_MS),
      maxBytes: env.MAX_BYTES,
      kvMemory: env.KV_MEMORY,
      maxRows: env.MAX_ROWS,
      maxQueue: env.MAX_QUEUE,
    });
    const { manifest, inputs } = (await request.json()) as GenerateRequest;
    try {
      if (request.url.endsWith('/refusal')) return Response.json({ refusal: policies.findUnsupportedReason(manifest) });
      const begin = (policy: LoadedPolicy) => inputs.map((input) => policy.generate(input, request.signal));
      const loading = policies.load(manifest);
      // A client that leaves is noticed once something is sent to it: /begun answers before the policy is loaded.
      return request.url.endsWith('/begun') ? answer(loading.then(begin)) : answer(begin(await loading));
    } catch (error) {
      if (!(error instanceof AttuneError)) throw error;
      const { message, status, code } = error;
      return Response.json({ message, code }, { status });
    }
  },
};

function delay(store: PolicyStore, milliseconds: number): PolicyStore {
  return {
    ...store,
    async read(id, file) {
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
      return store.read(id, file);
    },
  };
}

type Streams = AsyncIterable<GenerationEvent>[];

function answer(starting: Streams | Promise<Streams>): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const write = (line: string) => writer.write(new TextEncoder().encode(`${line}\n`));
  const tell = async () => {
    const beat = setInterval(() => write('').catch(() => {}), 50);
    const streams = await starting;
    clearInterval(beat);
    await Promise.all(
      streams.map(async (events, stream) => {
        for await (const event of events) await write(JSON.stringify({ stream, ...event }));
      }),
    );
    await writer.close();
  };
  tell().catch((error) => writer.abort(error));
  // Of any other type `wrangler dev` gathers the whole answer first.
  return new Response(readable, { headers: { 'content-type': 'text/event-stream' } });
}
