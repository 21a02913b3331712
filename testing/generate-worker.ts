// A minimal Worker that runs a policy, for tests: the request is JSON, and every event of its generations is sent back as a
// line of JSON.
import type { R2Bucket } from '@cloudflare/workers-types';
import { LocalPolicies } from '../edge/cloudflare/local-policies.ts';
import type { GenerationEvent, GenerationInput, LoadedPolicy } from '../edge/engine/inference.ts';
import { AttuneError } from '../shared/error.ts';
import type { Manifest } from '../shared/package/manifest.ts';
import { openR2Store } from '../shared/store/r2.ts';
import type { PolicyStore } from '../shared/store/store.ts';

export type GenerateRequest = { manifest: Manifest; inputs: GenerationInput[] };
/** DELAY_MS: latency of each file of the store. */
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
      kvMemoryBytes: env.KV_MEMORY,
      maxRows: env.MAX_ROWS,
      maxQueue: env.MAX_QUEUE,
    });
    const { manifest, inputs } = (await request.json()) as GenerateRequest;
    try {
      if (request.url.endsWith('/reason')) return Response.json({ reason: policies.findUnsupportedReason(manifest) });
      const start = (policy: LoadedPolicy) => inputs.map((input) => policy.generate(input, request.signal));
      const loading = policies.load(manifest);
      // A disconnected client is noticed only once something is sent to it: /early responds before the policy is loaded.
      return request.url.endsWith('/early') ? toStream(loading.then(start)) : toStream(start(await loading));
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

function toStream(starting: Streams | Promise<Streams>): Response {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const write = (line: string) => writer.write(new TextEncoder().encode(`${line}\n`));
  const send = async () => {
    const heartbeat = setInterval(() => write('').catch(() => {}), 50);
    const streams = await starting;
    clearInterval(heartbeat);
    await Promise.all(
      streams.map(async (events, stream) => {
        for await (const event of events) await write(JSON.stringify({ stream, ...event }));
      }),
    );
    await writer.close();
  };
  send().catch((error) => writer.abort(error));
  // `wrangler dev` buffers responses of any other type.
  return new Response(readable, { headers: { 'content-type': 'text/event-stream' } });
}
