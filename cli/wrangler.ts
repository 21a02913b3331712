// Runs `wrangler dev`: the Worker in workerd on a local address, offline and non-interactive.

import { writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { AttuneError } from '../shared/error.ts';
import { WRANGLER_OFFLINE_ENV } from '../shared/wrangler-env.ts';
import { type ChildProgram, startChildProgram } from './child-program.ts';

export const WRANGLER_CONFIG = fileURLToPath(new URL('../wrangler.toml', import.meta.url));

export type WranglerOptions = {
  host: string;
  port: number;
  /** Folder of the local R2, the queues and the variables. */
  state: string;
  databaseUrl: string;
  /** The Worker's variables. */
  variables: Record<string, string>;
};

/** Resolves when wrangler listens; the Worker may not be built yet. */
export async function startWrangler({
  host,
  port,
  state,
  databaseUrl,
  variables,
}: WranglerOptions): Promise<ChildProgram> {
  // In a file: command lines are visible to every user of the machine.
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

/** wrangler rejects a URL without a password, even if Postgres needs none. */
function withPassword(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  url.password ||= 'none';
  return url.href;
}

/** In dotenv's format: each value in quotes that it does not contain, with escaped dollar signs. */
function formatVariables(variables: Record<string, string>): string {
  const lines = Object.entries(variables).map(([name, value]) => {
    const quote = ["'", '`', '"'].find((candidate) => !value.includes(candidate));
    if (!quote)
      throw new AttuneError(
        `settings: ${name}: contains all three kinds of quotes, which wrangler dev does not support`,
      );
    return `${name}=${quote}${value.replaceAll('$', '\\$')}${quote}\n`;
  });
  return lines.join('');
}
