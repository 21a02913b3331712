// What tests of limits need besides the stage: edges with settings of their own on its Postgres, and a policy whose
// answers can be long.

import { startEdge } from '../edge/node.ts';
import { readSettings } from '../shared/settings.ts';
import type { Json, Stage } from './edge-server.ts';

export type Answer = { status: number; headers: Headers; body: Json; text: string };
export type Send = (path: string, json: unknown, headers?: Record<string, string>) => Promise<Answer>;

/** Another edge on the stage's Postgres and policies, with settings of its own. */
export async function withEdge(
  stage: Stage,
  env: Record<string, string>,
  use: (send: Send, url: string) => Promise<void>,
): Promise<void> {
  const settings = readSettings({ ATTUNE_HOME: stage.home, PORT: '0', ...env });
  const edge = await startEdge(settings, stage.databaseUrl);
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

/** A request for four tokens, and one for four thousand that does not end by itself, both to a policy that has room. */
export async function bePatient({ importTiny }: Stage) {
  const model = await importTiny(3, { contextLength: 4096 });
  const brief = { model, prompt: 'Once', max_tokens: 4 };
  return { brief, endless: { ...brief, max_tokens: 4000, logit_bias: { 1: -100, 2: -100 } } };
}

export const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export async function until<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  for (let attempt = 0; attempt < 400; attempt++) {
    const seen = await look();
    if (seen) return seen;
    await sleep(25);
  }
  throw new Error('it never came');
}
