// One runtime's API, as the suite sees it: plain fetch and OpenAI's own client, both of which note every operation that
// was called and the shape of what it answered, so that runtimes can be held against each other at the end.

import OpenAI from 'openai';
import { type Json, type Stage, setStage, type TinyOptions } from '../../testing/edge-server.ts';
import { openWorker, type WorkerStage } from '../../testing/worker-server.ts';
import { isJson, shapeOfBody } from './response-shape.ts';

export type Runtime = 'node' | 'worker';
export type Call = { method: string; path: string; status: number; type: string; headers: string[]; shape: string[] };
export type Answer = { status: number; headers: Headers; body: Json; text: string };
export type Init = RequestInit & { json?: unknown; duplex?: 'half' };

export type Api = {
  runtime: Runtime;
  url: string;
  stage: Stage;
  /** OpenAI's client, which tries nothing again. */
  client: OpenAI;
  /** Another one, with options of its own. */
  connect(options?: ConstructorParameters<typeof OpenAI>[0]): OpenAI;
  /** With the key; `json` makes it a POST. The body is parsed where it is JSON. */
  request(path: string, init?: Init): Promise<Answer>;
  /** The response as it comes. */
  fetch(path: string, init?: Init): Promise<Response>;
  calls: Call[];
  /** Keeps what must be the same on every runtime. */
  keep(name: string, value: Json): void;
  kept: Map<string, Json>;
  /** Another tiny policy that both runtimes can serve. */
  importTiny(seed: number, options?: TinyOptions): Promise<string>;
};

export const KEYS = ['first-secret-key', 'second-secret-key'] as const;

/** Seconds: what is not endless ends in it, on a busy machine too. */
const REQUEST_TIMEOUT = '4';
const MAX_ROWS = 16;
/** Generations that run or wait at most. */
export const QUEUE = 80;
// A Worker computes fp32 alone; served at it on Node as well, a policy says the same on both.
const env = {
  API_KEY: KEYS.join(),
  REQUEST_TIMEOUT,
  PRECISION: 'fp32',
  MAX_ROWS: String(MAX_ROWS),
  MAX_QUEUE: String(QUEUE - MAX_ROWS),
};

export type Premises = { stage: Stage; apis: Api[]; worker: WorkerStage | null };

/** The runtimes side by side on one Postgres, with a policy that nobody has made active yet. RUNTIME asks for one. */
export async function openApis(): Promise<Premises> {
  const asked = process.env.RUNTIME;
  const stage = await setStage(env, { isActive: false });
  const worker = asked === 'node' ? null : await openWorker(stage.databaseUrl, env);
  const send = async (id: string) => {
    await worker?.sendPolicy(await stage.shelf.folderOf(id));
    return id;
  };
  await send(stage.policyId);
  const importTiny = async (seed: number, options?: TinyOptions) => send(await stage.importTiny(seed, options));
  const apis = [
    ...(asked === 'worker' ? [] : [openApi('node', stage.edge.url, { stage, importTiny })]),
    ...(worker ? [openApi('worker', worker.url, { stage, importTiny })] : []),
  ];
  return { stage, apis, worker };
}

/** Headers of the connection rather than of the answer. */
const HOPS = new Set(['connection', 'keep-alive', 'content-length', 'transfer-encoding', 'content-encoding', 'date']);

function openApi(runtime: Runtime, url: string, shared: Pick<Api, 'stage' | 'importTiny'>): Api {
  const calls: Call[] = [];
  const kept = new Map<string, Json>();

  const note = (method: string, address: string, response: Response): Call => {
    const type = response.headers.get('content-type') ?? '';
    const headers = [...response.headers.keys()].filter((name) => !HOPS.has(name));
    const { pathname: path } = new URL(address);
    const call: Call = { method, path, status: response.status, type, headers, shape: [] };
    calls.push(call);
    return call;
  };

  const fetchNoted: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const call = note(init?.method?.toUpperCase() ?? 'GET', String(input), response);
    if (!isJson(call.type)) return response;
    const text = await response.text();
    if (text) call.shape = shapeOfBody(call.type, text);
    return new Response(text, response);
  };

  const prepare = ({ json, ...init }: Init = {}): Init => ({
    redirect: 'manual',
    ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
    ...init,
    // In turn, because a Worker limits how often each key may ask.
    headers: {
      authorization: `Bearer ${KEYS[calls.length % KEYS.length]}`,
      'content-type': 'application/json',
      ...init.headers,
    },
  });

  const connect: Api['connect'] = (options) =>
    new OpenAI({ baseURL: `${url}/v1`, apiKey: KEYS[0], maxRetries: 0, fetch: fetchNoted, ...options });

  return {
    ...shared,
    runtime,
    url,
    client: connect(),
    connect,
    calls,
    kept,
    keep(name, value) {
      kept.set(name, value);
    },
    fetch: (path, init) => fetchNoted(url + path, prepare(init)),
    async request(path, init) {
      const response = await fetch(url + path, prepare(init));
      const text = await response.text();
      const call = note(init?.json === undefined ? (init?.method ?? 'GET') : 'POST', url + path, response);
      if (text) call.shape = shapeOfBody(call.type, text);
      const body = text && isJson(call.type) ? JSON.parse(text) : text;
      return { status: call.status, headers: response.headers, body, text };
    },
  };
}
