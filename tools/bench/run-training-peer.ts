// Runs one plan in a Node or Python process: one line of JSON on stdin, JSON on stdout. Stdin stays open while it runs, and
// the process exits when it closes, so none outlives this one.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MALLOC_ENV } from '../../cli/malloc.ts';
import { AttuneError } from '../../shared/error.ts';

/** `python`: the interpreter of a Python peer. */
export type PeerScript = { script: string; python?: string };

const running = new Set<ChildProcess>();
/** A run that takes longer hangs. */
const TIMEOUT_MS = 15 * 60_000;

export async function runTrainingPeer<Outcome>(
  program: PeerScript,
  plan: object,
  timeoutMs = TIMEOUT_MS,
): Promise<Outcome> {
  const script = fileURLToPath(new URL(`./peers/${program.script}`, import.meta.url));
  const child = spawn(program.python ?? process.execPath, [script], {
    stdio: ['pipe', 'pipe', 'pipe'],
    // Its own process group: Ctrl-C stops it through stopTrainingPeers.
    detached: true,
    env: peerEnv(program),
  });
  running.add(child);
  let [output, errorOutput] = ['', ''];
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk) => {
    errorOutput = (errorOutput + chunk).slice(-4000);
  });
  // If the process has already ended, the exit code is reported.
  child.stdin.on('error', () => undefined);
  child.stdin.write(`${JSON.stringify(plan)}\n`);
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  try {
    const code = await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => resolve(signal ?? code));
    });
    if (code !== 0) throw new AttuneError(`${program.script}: process ended (${code}): ${errorOutput.trim()}`);
    return JSON.parse(output);
  } finally {
    clearTimeout(timer);
    running.delete(child);
  }
}

export function stopTrainingPeers(): void {
  for (const child of running) child.kill('SIGKILL');
}

/** Attune's malloc settings are those of `npm start`; Python peers run without network access. */
function peerEnv({ python }: PeerScript): NodeJS.ProcessEnv {
  return python ? { ...process.env, HF_HUB_OFFLINE: '1' } : { ...process.env, ...MALLOC_ENV };
}
