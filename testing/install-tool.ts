// Installs programs that tests need and npm does not have, with Go or pip, once, in the user's cache folder. If that
// fails, the test is skipped and the reason names the command that installs the program. `pip` is for a package without
// dependencies; `venv` makes a virtual environment.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

type Tool = {
  /** Name of the executable. */
  name: string;
  from: { go: string } | { pip: string } | { venv: string };
};

const CACHE = path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'attune', 'tools');

/** The shell's command that installs the source into the folder. */
const INSTALL_LINES: Record<string, (source: string, folder: string) => string> = {
  go: (source, folder) => `GOBIN='${path.join(folder, 'bin')}' go install ${source}`,
  pip: (source, folder) => `python3 -m pip install --quiet --no-deps --target '${folder}' ${source}`,
  venv: (source, folder) =>
    `python3 -m venv '${folder}' && '${path.join(folder, 'bin/python')}' -m pip install --quiet ${source}`,
};

/** The executable's path, or the reason why it is missing. */
export function installTool({ name, from }: Tool): { path: string } | { missing: string } {
  const [kind, source] = Object.entries(from)[0]!;
  const folder = path.join(CACHE, source.replaceAll(/[^\w.@-]+/g, '_'));
  const program = path.join(folder, 'bin', name);
  if (existsSync(program)) return { path: program };
  const line = INSTALL_LINES[kind]!(source, folder);
  const install = spawnSync('sh', ['-c', line], { encoding: 'utf8', timeout: 300_000 });
  if (install.status === 0 && existsSync(program)) return { path: program };
  const reason = install.error?.message ?? install.stderr.trim().split('\n').at(-1) ?? '';
  return { missing: `${name} is not installed; run \`${line}\` (it failed with: ${reason})` };
}
