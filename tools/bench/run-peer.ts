// Runs one plan in a peer's own process and waits for what came out. No process outlives this one, however it ends.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MALLOC_ENV } from '../../cli/malloc.ts';
import type { FromPeer, Outcome, Plan } from './peers/peer.ts';

export type PeerProgram = 'attune' | 'attune-http' | 'transformers' | 'llama';

const running = new Set<ChildProcess>();
/** A case that takes longer has hung. */
const PATIENCE = 10 * 60_000;

export async function runPeer(program: PeerProgram, plan: Plan): Promise<Outcome> {
  const child = fork(fileURLToPath(new URL(`./peers/${program}.ts`, import.meta.url)), {
    // What native libraries print must not get between the lines of the table.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // In a group of its own, so that a Ctrl-C reaches it through us and it can put away what it started.
    detached: true,
    env: environmentOf(program),
  });
  running.add(child);
  let said = '';
  child.stderr!.on('data', (chunk) => {
    said = (said + chunk).slice(-4000);
  });
  const impatience = setTimeout(() => child.kill('SIGKILL'), PATIENCE);
  try {
    return await new Promise<Outcome>((resolve, reject) => {
      child.on('message', (message: FromPeer) => {
        if ('outcome' in message) resolve(message.outcome);
        else reject(new Error(`${program} ${plan.variant}: ${message.failure}\n${said}`));
      });
      child.on('error', reject);
      child.on('exit', (code, signal) => {
        reject(new Error(`${program} ${plan.variant}: its process ended (${signal ?? code}): ${said.trim()}`));
      });
      child.send(plan);
    });
  } finally {
    clearTimeout(impatience);
    await ended(child);
    running.delete(child);
  }
}

/** Ends what runs; whoever waits for it is told. A peer also ends by itself when this process dies. */
export function endPeers(): void {
  for (const child of running) if (child.connected) child.disconnect();
}

/** Attune runs as `npm start` runs it; the others as they come. */
function environmentOf(program: PeerProgram): NodeJS.ProcessEnv {
  return program.startsWith('attune') ? { ...process.env, ...MALLOC_ENV } : process.env;
}

// 'exit' and not 'close', which never comes where this side has closed the channel.
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const end = new Promise((resolve) => child.once('exit', resolve));
  const impatience = setTimeout(() => child.kill('SIGKILL'), 20_000);
  await end;
  clearTimeout(impatience);
}
