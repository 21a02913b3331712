// Installs programs that tests need and npm does not have, with Go or pip, once, in the user's cache folder. If that
// fails, the test is skipped and the reason names the command that installs the program.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

type Tool = {
  /** Name of the executable. */
  name: string;
  from: { go: string } | { pip: string };
};

const CACHE = path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'attune', 'tools');

/** The executable's path, or the reason why it is missing. */
export function installTool({ name, from }: Tool): { path: string } | { missing: string } {
  const [kind, source] = Object.entries(from)[0]!;
  const folder = path.join(CACHE, source.replaceAll(/[^\w.@-]+/g, '_'));
  const program = path.join(folder, 'bin', name);
  if (existsSync(program)) return { path: program };
  const [command, args, env] =
    kind === 'go'
      ? ['go', ['install', source], { GOBIN: path.join(folder, 'bin') }]
      : ['python3', ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, source], {}];
  const install = spawnSync(command as string, args as string[], {
    env: { ...process.env, ...(env as Record<string, string>) },
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (install.status === 0 && existsSync(program)) return { path: program };
  const line = `${Object.entries(env).map(([key, value]) => `${key}=${value} `)}${command} ${(args as string[]).join(' ')}`;
  const reason = install.error?.message ?? install.stderr.trim().split('\n').at(-1) ?? '';
  return { missing: `${name} is not installed; run \`${line}\` (it failed with: ${reason})` };
}
