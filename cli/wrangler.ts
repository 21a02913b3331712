// `wrangler dev`: the Worker in workerd, answering on an address of this machine. Nothing it does leaves the machine, and
// it asks no questions.

import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AttuneError } from '../shared/error.ts';
import { WRANGLER_OFFLINE_ENV } from '../shared/wrangler.ts';
import { type ChildProgram, startChildProgram } from './child-program.ts';

export const WRANGLER_CONFIG = fileURLToPath(new URL('../wrangler.toml', import.meta.url));

export type WranglerOptions = {
  host: string;
  port: number;
  /** A folder: local R2, queues, and the variables. */
  state: string;
  databaseUrl: string;
  /** What the Worker finds in its environment. */
  variables: Record<string, string>;
};

/** Resolves when it listens; the Worker may still be being built. */
export async function startWrangler({
  host,
  port,
  state,
  databaseUrl,
  variables,
}: WranglerOptions): Promise<ChildProgram> {
  // A file, since everybody on this machine can read a command line.
  const file = path.join(state, 'variables.env');
  await writeFile(file, formatVariables(variables), { mode: 0o600 });
  const root = path.dirname(createRequire(import.meta.url).resolve('wrangler/package.json'));
  const flags = {
    config: WRANGLER_CONFIG,
    ip: host,
    port: String(port),
    'persist-to': state,
    'env-file': file,
    'show-interactive-dev-session': 'false',
  };
  const named = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  return startChildProgram({
    name: 'wrangler dev',
    args: [path.join(root, 'bin/wrangler.js'), 'dev', '--local', ...named],
    env: {
      ...process.env,
      ...WRANGLER_OFFLINE_ENV,
      CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE: withPassword(databaseUrl),
    },
    isReady: (message) => typeof message === 'string' && JSON.parse(message).event === 'DEV_SERVER_READY',
  });
}

/** wrangler refuses a URL that has none, also where Postgres asks for none. */
function withPassword(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  url.password ||= 'none';
  return url.href;
}

/** As dotenv reads it: quoted by what the value does not hold, and nothing in it put in for a dollar sign. */
function formatVariables(variables: Record<string, string>): string {
  const lines = Object.entries(variables).map(([name, value]) => {
    const quote = ["'", '`', '"'].find((candidate) => !value.includes(candidate));
    if (!quote)
      throw new AttuneError(
        `settings: ${name}: it holds all three kinds of quotes, which wrangler dev cannot be given`,
      );
    return `${name}=${quote}${value.replaceAll('$', '\\$')}${quote}\n`;
  });
  return lines.join('');
}
