// edge/worker.ts in workerd with a broken environment: a missing section of wrangler.toml, other variables, or bindings
// that throw on every call. Its bucket is empty. Stopped after the test.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createTestHarness, unstable_readConfig } from 'wrangler';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

export type Breakage = {
  /** Section of wrangler.toml to omit. */
  without?: 'hyperdrive' | 'r2_buckets' | 'queues' | 'ratelimits' | 'assets';
  throwing?: ('BACKGROUND' | 'RATE_LIMIT' | 'ASSETS' | 'POLICIES')[];
  vars?: Record<string, string>;
};

/** A service binding whose methods all throw. */
const THROWING = `
import { WorkerEntrypoint } from 'cloudflare:workers';
const fail = () => { throw new Error('the binding is broken'); };
export class Broken extends WorkerEntrypoint {
  fetch() { fail(); }
  limit() { fail(); }
  send() { fail(); }
  sendBatch() { fail(); }
  get() { fail(); }
  head() { fail(); }
  list() { fail(); }
  put() { fail(); }
}
export default { fetch: fail };
`;

export async function startBrokenWorker(
  databaseUrl: string,
  { without, throwing = [], vars = {} }: Breakage,
): Promise<{ url: string }> {
  const whole = unstable_readConfig({ config: `${ROOT}wrangler.toml` });
  const { name, main, compatibility_date, compatibility_flags, rules, durable_objects, migrations } = whole;
  const isThrowing = (binding: (typeof throwing)[number]) => throwing.includes(binding);
  const sections = {
    hyperdrive: whole.hyperdrive,
    r2_buckets: isThrowing('POLICIES') ? [] : whole.r2_buckets,
    queues: isThrowing('BACKGROUND') ? {} : { producers: whole.queues.producers },
    ratelimits: isThrowing('RATE_LIMIT') ? [] : whole.ratelimits,
    assets: isThrowing('ASSETS') ? undefined : whole.assets,
  };
  if (without) delete sections[without];
  const services = throwing.map((binding) => ({ binding, service: 'broken', entrypoint: 'Broken' }));
  process.env.CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE = databaseUrl;
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-broken-'));
  await writeFile(path.join(folder, 'broken.js'), THROWING);
  const server = createTestHarness({
    root: ROOT,
    workers: [
      {
        config: {
          ...{ name, main, compatibility_date, compatibility_flags, rules, durable_objects, migrations, services },
          ...sections,
          vars: { LOOPBACK: 'true', ...vars },
        },
      },
      {
        config: {
          name: 'broken',
          main: path.join(folder, 'broken.js'),
          compatibility_date,
        },
      },
    ],
  });
  const { url } = await server.listen();
  const close = async () => {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  };
  after(close);
  return { url: url.origin };
}
