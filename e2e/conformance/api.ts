// Clients of one runtime's API: fetch and OpenAI's client. Both record every call and the shape of its response, so that
// the suite can compare runtimes at its end.

import OpenAI from 'openai';
import { type EdgeServer, type ImportTiny, type Json, startEdgeServer } from '../../testing/edge-server.ts';
import { startWorkerServer, type WorkerServer } from '../../testing/worker-server.ts';
import { isJson, toBodyShape } from './response-shape.ts';

export type Runtime = 'node' | 'worker';
export type Call = { method: string; path: string; status: number; type: string; headers: string[]; shape: string[] };
export type ApiResponse = { status: number; headers: Headers; body: Json; text: string };
export type Init = RequestInit & { json?: unknown; duplex?: 'half' };

export type Api = {
  runtime: Runtime;
  url: string;
  server: EdgeServer;
  /** OpenAI's client without retries. */
  client: OpenAI;
  /** OpenAI's client with other options. */
  connect(options?: ConstructorParameters<typeof OpenAI>[0]): OpenAI;
  /** Sends an API key; with `json` a POST. JSON bodies are parsed. */
  request(path: string, init?: Init): Promise<ApiResponse>;
  /** Like request(), with the raw response. */
  fetch(path: string, init?: Init): Promise<Response>;
  calls: Call[];
  /** Records a value that must be equal on every runtime. */
  record(name: string, value: Json): void;
  recorded: Map<string, Json>;
  /** Imports another tiny policy for both runtimes. */
  importTiny: ImportTiny;
};

export const KEYS = ['first-secret-key', 'second-secret-key'] as const;

/** Seconds; long enough for every request with an end, on a busy machine too. */
const REQUEST_TIMEOUT = '4';
const MAX_ROWS = 16;
/** Maximum of running and queued generations. */
export const MAX_CONCURRENT = 80;
// Workers only run fp32; with it on Node too, both generate the same text.
const env = {
  API_KEY: KEYS.join(),
  REQUEST_TIMEOUT,
  PRECISION: 'fp32',
  MAX_ROWS: String(MAX_ROWS),
  MAX_QUEUE: String(MAX_CONCURRENT - MAX_ROWS),
  // The suite tries wrong keys on every operation.
  WRONG_KEYS_PER_MINUTE: '10000',
};

export type ConformanceSetup = { server: EdgeServer; apis: Api[]; worker: WorkerServer | null };

/** Starts the runtimes on one Postgres with an imported, inactive policy; RUNTIME selects one of them. */
export async function openApis(): Promise<ConformanceSetup> {
  const selected = process.env.RUNTIME;
  const server = await startEdgeServer(env, { isActive: false });
  const worker = selected === 'node' ? null : await startWorkerServer(server.databaseUrl, env);
  const upload = async (id: string) => {
    await worker?.uploadPolicy(await server.localStore.getFolder(id));
    return id;
  };
  await upload(server.policyId);
  const importTiny: ImportTiny = async (seed, options) => upload(await server.importTiny(seed, options));
  const apis = [
    ...(selected === 'worker' ? [] : [openApi('node', server.edge.url, { server, importTiny })]),
    ...(worker ? [openApi('worker', worker.url, { server, importTiny })] : []),
  ];
  return { server, apis, worker };
}

/** Headers of the connection, which are not compared. */
const CONNECTION_HEADERS = new Set([
  'connection',
  'keep-alive',
  'content-length',
  'transfer-encoding',
  'content-encoding',
  'date',
]);

function openApi(runtime: Runtime, url: string, shared: Pick<Api, 'server' | 'importTiny'>): Api {
  const calls: Call[] = [];
  const recorded = new Map<string, Json>();

  const recordCall = (method: string, address: string, response: Response): Call => {
    const type = response.headers.get('content-type') ?? '';
    const headers = [...response.headers.keys()].filter((name) => !CONNECTION_HEADERS.has(name));
    const { pathname: path } = new URL(address);
    const call: Call = { method, path, status: response.status, type, headers, shape: [] };
    calls.push(call);
    return call;
  };

  const recordingFetch: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const call = recordCall(init?.method?.toUpperCase() ?? 'GET', String(input), response);
    if (!isJson(call.type)) return response;
    const text = await response.text();
    if (text) call.shape = toBodyShape(call.type, text);
    return new Response(text, response);
  };

  const prepare = ({ json, ...init }: Init = {}): Init => ({
    redirect: 'manual',
    ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
    ...init,
    // Alternating keys, because a Worker has a rate limit per key.
    headers: {
      authorization: `Bearer ${KEYS[calls.length % KEYS.length]}`,
      'content-type': 'application/json',
      ...init.headers,
    },
  });

  const connect: Api['connect'] = (options) =>
    new OpenAI({ baseURL: `${url}/v1`, apiKey: KEYS[0], maxRetries: 0, fetch: recordingFetch, ...options });

  return {
    ...shared,
    runtime,
    url,
    client: connect(),
    connect,
    calls,
    recorded,
    record(name, value) {
      recorded.set(name, value);
    },
    fetch: (path, init) => recordingFetch(url + path, prepare(init)),
    async request(path, init) {
      const response = await fetch(url + path, prepare(init));
      const text = await response.text();
      const call = recordCall(init?.json === undefined ? (init?.method ?? 'GET') : 'POST', url + path, response);
      if (text) call.shape = toBodyShape(call.type, text);
      const body = text && isJson(call.type) ? JSON.parse(text) : text;
      return { status: call.status, headers: response.headers, body, text };
    },
  };
}
