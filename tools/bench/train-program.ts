// Runs one plan in a program of its own and waits for what came out: a line of JSON in, JSON out. Peers are Node or
// Python. No program outlives this one: its standard input stays open until it is done, and it ends when that closes.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MALLOC_ENV } from '../../cli/malloc.ts';
import { AttuneError } from '../../shared/error.ts';

/** `python`: the interpreter of a Python peer. */
export type Program = { script: string; python?: string };

const running = new Set<ChildProcess>();
/** What takes longer has hung. */
const PATIENCE = 15 * 60_000;

export async function runProgram<Outcome>(program: Program, plan: object): Promise<Outcome> {
  const script = fileURLToPath(new URL(`./peers/${program.script}`, import.meta.url));
  const child = spawn(program.python ?? process.execPath, [script], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // In a group of its own, so that a Ctrl-C ends it through us.
    detached: true,
    env: environmentOf(program),
  });
  running.add(child);
  let [told, said] = ['', ''];
  child.stdout.on('data', (chunk) => {
    told += chunk;
  });
  child.stderr.on('data', (chunk) => {
    said = (said + chunk).slice(-4000);
  });
  // Where it has ended already, its exit says so.
  child.stdin.on('error', () => undefined);
  child.stdin.write(`${JSON.stringify(plan)}\n`);
  const impatience = setTimeout(() => child.kill('SIGKILL'), PATIENCE);
  try {
    const code = await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => resolve(signal ?? code));
    });
    if (code !== 0) throw new AttuneError(`${program.script} ended (${code}): ${said.trim()}`);
    return JSON.parse(told);
  } finally {
    clearTimeout(impatience);
    running.delete(child);
  }
}

export function endPrograms(): void {
  for (const child of running) child.kill('SIGKILL');
}

/** Attune trains as `npm start` does; the others as they come, but without a network. */
function environmentOf({ python }: Program): NodeJS.ProcessEnv {
  return python ? { ...process.env, HF_HUB_OFFLINE: '1' } : { ...process.env, ...MALLOC_ENV };
}
