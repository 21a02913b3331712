// An Attune server for tests: embedded Postgres in a temporary folder, a tiny random policy and the API on a free port, all
// removed after the test.

import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after } from 'node:test';
import { type Edge, startEdge } from '../edge/node.ts';
import { buildIfStale } from '../pages/build.ts';
import { type Connection, connect } from '../shared/database/connect.ts';
import { openPostgres } from '../shared/database/embedded.ts';
import type { PrecisionName } from '../shared/precision-name.ts';
import { publishPackage } from '../shared/publish/publish.ts';
import { readSettings, type Settings } from '../shared/settings.ts';
import { type LocalStore, openLocalStore } from '../shared/store/local-store.ts';
import { activatePolicy, registerPolicy } from '../shared/store/registry.ts';
import { makePostgresHome } from './postgres-home.ts';
import { type TinyCheckpointOptions, writeTinyCheckpoint } from './tiny-checkpoint.ts';

export type EdgeServer = {
  home: string;
  settings: Settings;
  databaseUrl: string;
  connection: Connection;
  localStore: LocalStore;
  policyId: string;
  edge: Edge;
  /** Imports another tiny policy, with weights from this seed. */
  importTiny: ImportTiny;
  /** Sends a POST if `json` is given, else a GET. */
  request(
    path: string,
    init?: RequestInit & { json?: unknown },
  ): Promise<{ status: number; headers: Headers; body: Json }>;
  /** The body of the response to a POST, which must be a 200. */
  post(path: string, json: object, headers?: Record<string, string>): Promise<Json>;
};

/** `reference`: the policy is published as if a round had trained it against this one. */
type TinyPolicyOptions = TinyCheckpointOptions & { reference?: string; precision?: PrecisionName };
export type ImportTiny = (seed: number, options?: TinyPolicyOptions) => Promise<string>;

// biome-ignore lint/suspicious/noExplicitAny: tests check the content of responses
export type Json = any;
export type { TinyCheckpointOptions };

/** `isActive: false` leaves the activation of the policy to the test. */
export async function startEdgeServer(env: Record<string, string> = {}, { isActive = true } = {}): Promise<EdgeServer> {
  buildIfStale();
  const home = await makePostgresHome('e2e');
  const settings = readSettings({ ATTUNE_HOME: home, PORT: '0', ...env });
  const postgres = await openPostgres(home);
  const connection = connect(postgres.url, { name: 'attune test', max: 3 });
  const localStore = await openLocalStore(settings, connection.db);
  const importTiny: ImportTiny = async (seed, { reference = null, precision, ...options } = {}) => {
    const folder = await localStore.createStaging();
    const checkpoint = await writeTinyCheckpoint(folder, { ...options, seed });
    const origin = { parent: reference, reference, objective: null, pairs: null, metrics: {}, source: 'test' };
    const { id } = await publishPackage({
      store: localStore,
      register: (row) => registerPolicy(connection.db, row),
      name: `tiny ${seed}`,
      sourceFolder: folder,
      ...checkpoint,
      provenance: origin,
      precision: precision ?? settings.PRECISION,
      isPrecisionForced: precision !== undefined,
    });
    await localStore.discardStaging(folder);
    return id;
  };
  const policyId = await importTiny(1);
  if (isActive) await activatePolicy(connection.db, policyId, 'test');
  const edge = await startEdge(settings, postgres.url);
  after(async () => {
    await edge.close();
    await connection.close();
    await postgres.leave();
    await rm(home, { recursive: true, force: true });
  });
  const request: EdgeServer['request'] = async (target, { json, ...init } = {}) => {
    const response = await fetch(edge.url + target, {
      ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
      ...init,
      headers: { 'content-type': 'application/json', ...init.headers },
    });
    const text = await response.text();
    const isJson =
      response.headers.get('content-type')?.includes('json') &&
      !response.headers.get('content-type')?.includes('jsonl');
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  };
  return {
    home,
    settings,
    databaseUrl: postgres.url,
    connection,
    localStore,
    policyId,
    edge,
    importTiny,
    request,
    async post(target, json, headers = {}) {
      const { status, body } = await request(target, { json, headers });
      assert.equal(status, 200, `${target}: ${JSON.stringify(body)}`);
      return body;
    },
  };
}

type EdgeResponse = { status: number; headers: Headers; body: Json; text: string };
type Send = (path: string, json: unknown, headers?: Record<string, string>) => Promise<EdgeResponse>;

/** Runs `use` with a second edge on the Postgres and policies of `server`, with other settings. */
export async function withEdge(
  server: EdgeServer,
  env: Record<string, string>,
  use: (send: Send, url: string) => Promise<void>,
): Promise<void> {
  const settings = readSettings({ ATTUNE_HOME: server.home, PORT: '0', ...env });
  const edge = await startEdge(settings, server.databaseUrl);
  try {
    await use(async (path, json, headers = {}) => {
      const response = await fetch(edge.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(json),
      });
      const text = await response.text();
      const isJson = response.headers.get('content-type')?.startsWith('application/json');
      return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : null, text };
    }, edge.url);
  } finally {
    await edge.close();
  }
}

/** Requests to a policy with a context of 4096: `brief` for 4 tokens, `endless` for 4000 without an end-of-text token. */
export async function makeLongRequests({ importTiny }: EdgeServer) {
  const model = await importTiny(3, { contextLength: 4096 });
  const brief = { model, prompt: 'Once', max_tokens: 4 };
  return { brief, endless: { ...brief, max_tokens: 4000, logit_bias: { 1: -100, 2: -100 } } };
}
