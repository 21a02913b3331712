// The Worker's bindings and variables from wrangler.toml, validated before the first request. A missing one fails every
// request with a message that names it and the section to add.

import type { Fetcher, Hyperdrive, Queue, R2Bucket, RateLimit } from '@cloudflare/workers-types';
import { AttuneError } from '../../shared/error.ts';
import { readSettings, type Settings } from '../../shared/settings.ts';
import type { BackgroundMessage } from './background.ts';
import type { EdgeNamespace } from './container.ts';

export type Bindings = {
  HYPERDRIVE: Hyperdrive;
  POLICIES: R2Bucket;
  BACKGROUND: Queue<BackgroundMessage>;
  RATE_LIMIT: RateLimit;
  ASSETS: Fetcher;
  /** The container for policies that do not fit in an isolate; optional when INFERENCE_URL is set. */
  EDGE?: EdgeNamespace;
};

const REQUIRED_BINDINGS: Record<Exclude<keyof Bindings, 'EDGE'>, string> = {
  HYPERDRIVE: '[[hyperdrive]], the connection to Postgres',
  POLICIES: '[[r2_buckets]], the policy store',
  BACKGROUND: '[[queues.producers]], the queue for background work',
  RATE_LIMIT: '[[ratelimits]]',
  ASSETS: '[assets], the files of the pages and of /docs',
};

export type WorkerEnv = { bindings: Bindings; settings: Settings };

/** Throws an AttuneError that names the missing binding or the invalid setting. */
export function readWorkerEnv(env: Record<string, unknown>): WorkerEnv {
  for (const [name, section] of Object.entries(REQUIRED_BINDINGS)) {
    if (env[name] !== undefined) continue;
    throw misconfigured(`wrangler.toml: binding ${name} is missing; add ${section}`, 'missing_binding');
  }
  return { bindings: env as Bindings, settings: readVariables(env) };
}

function readVariables(env: Record<string, unknown>): Settings {
  // `wrangler dev` and tests set LOOPBACK where only this machine reaches the Worker. HOST itself applies to Node only.
  const isLoopback = env.LOOPBACK === 'true';
  // [vars] may hold numbers; bindings are objects.
  const variables = Object.entries(env).filter(([, value]) => typeof value === 'string' || typeof value === 'number');
  if (!env.API_KEY && !isLoopback)
    throw misconfigured(
      'settings: API_KEY is missing, and a Worker is public; run `npx wrangler secret put API_KEY`',
      'invalid_settings',
    );
  if (typeof env.REDACT === 'string' && !['', 'pii'].includes(env.REDACT))
    throw misconfigured(
      `settings: REDACT: ${env.REDACT} is a module, and a Worker loads none at run time; give pii, or serve the API on Node`,
      'invalid_settings',
    );
  try {
    return readSettings({
      ...Object.fromEntries(variables.map(([name, value]) => [name, String(value)])),
      HOST: isLoopback ? '127.0.0.1' : '0.0.0.0',
    });
  } catch (error) {
    if (!(error instanceof AttuneError)) throw error;
    throw misconfigured(
      `${error.message}; set variables under [vars] in wrangler.toml or as secrets`,
      'invalid_settings',
    );
  }
}

function misconfigured(message: string, code: string): AttuneError {
  return new AttuneError(`${message}, and deploy again`, { status: 503, code, retry: false });
}
