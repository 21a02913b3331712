// Programs that tests need and npm cannot bring: installed once, by Go or pip, into a folder beside the caches of other
// programs. Where that cannot be done the test skips, with a sentence that says which command would bring it.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

export type Tool = {
  /** of the program */
  name: string;
  from: { go: string } | { pip: string };
};

const CACHE = path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'attune', 'tools');

/** The program's path, or why there is none. */
export function bringTool({ name, from }: Tool): { path: string } | { missing: string } {
  const [kind, source] = Object.entries(from)[0]!;
  const folder = path.join(CACHE, source.replaceAll(/[^\w.@-]+/g, '_'));
  const program = path.join(folder, 'bin', name);
  if (existsSync(program)) return { path: program };
  const [command, args, env] =
    kind === 'go'
      ? ['go', ['install', source], { GOBIN: path.join(folder, 'bin') }]
      : ['python3', ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, source], {}];
  const said = spawnSync(command as string, args as string[], {
    env: { ...process.env, ...(env as Record<string, string>) },
    encoding: 'utf8',
    timeout: 300_000,
  });
  if (said.status === 0 && existsSync(program)) return { path: program };
  const line = `${Object.entries(env).map(([key, value]) => `${key}=${value} `)}${command} ${(args as string[]).join(' ')}`;
  const reason = said.error?.message ?? said.stderr.trim().split('\n').at(-1) ?? '';
  return { missing: `${name} is not here; \`${line}\` brings it (it said: ${reason})` };
}
