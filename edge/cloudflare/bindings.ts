// What wrangler.toml binds to the Worker, checked before the first request: one that is missing is named, with what to
// add, and every answer says so until it is there.

import type { Fetcher, Hyperdrive, Queue, R2Bucket, RateLimit } from '@cloudflare/workers-types';
import { AttuneError } from '../../shared/error.ts';
import { readSettings, type Settings } from '../../shared/settings.ts';
import type { Late } from './background.ts';
import type { EdgeNamespace } from './container.ts';

export type Bindings = {
  HYPERDRIVE: Hyperdrive;
  POLICIES: R2Bucket;
  LATE: Queue<Late>;
  RATE_LIMIT: RateLimit;
  DOCS: Fetcher;
  /** the container; without it INFERENCE_URL computes what this Worker cannot */
  EDGE?: EdgeNamespace;
};

const NEEDED: Record<Exclude<keyof Bindings, 'EDGE'>, string> = {
  HYPERDRIVE: '[[hyperdrive]], which reaches Postgres',
  POLICIES: '[[r2_buckets]], where policies are kept',
  LATE: '[[queues.producers]], for what may be late',
  RATE_LIMIT: '[[ratelimits]]',
  DOCS: '[assets], the files of /docs',
};

export type Premises = { bindings: Bindings; settings: Settings };

/** Throws an AttuneError that names the binding or setting that is missing or wrong. */
export function readPremises(env: Record<string, unknown>): Premises {
  for (const [name, section] of Object.entries(NEEDED)) {
    if (env[name] !== undefined) continue;
    throw undeployable(`wrangler.toml: binding ${name} is missing; add ${section}`, 'missing_binding');
  }
  return { bindings: env as Bindings, settings: readVariables(env) };
}

function readVariables(env: Record<string, unknown>): Settings {
  // wrangler dev and tests say so where nobody else can reach the Worker; HOST is about other processes.
  const isLoopback = env.LOOPBACK === 'true';
  // [vars] may be numbers; bindings are objects.
  const variables = Object.entries(env).filter(([, value]) => typeof value === 'string' || typeof value === 'number');
  if (!env.API_KEY && !isLoopback)
    throw undeployable(
      'settings: API_KEY is missing, and everybody can reach a Worker; `npx wrangler secret put API_KEY`',
      'invalid_settings',
    );
  try {
    return readSettings({
      ...Object.fromEntries(variables.map(([name, value]) => [name, String(value)])),
      HOST: isLoopback ? '127.0.0.1' : '0.0.0.0',
    });
  } catch (error) {
    if (!(error instanceof AttuneError)) throw error;
    throw undeployable(`${error.message}; variables are [vars] of wrangler.toml or secrets`, 'invalid_settings');
  }
}

function undeployable(message: string, code: string): AttuneError {
  return new AttuneError(`${message}, and deploy again`, { status: 503, code, retry: false });
}
