// Runs one plan in a peer's process over IPC. Peer processes end when this one does.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { MALLOC_ENV } from '../../cli/malloc.ts';
import type { Accuracy } from './accuracy.ts';
import type { AccuracyPlan, Outcome, PeerMessage, Plan } from './peers/peer.ts';

export type PeerProgram = 'attune' | 'attune-http' | 'transformers' | 'llama';

const running = new Set<ChildProcess>();
/** A run that takes longer hangs. Long prompts take their time, and accuracy is measured on busy machines too. */
const TIMEOUT_MS = 10 * 60_000;
const TIMEOUT_MS_PER_PROMPT_TOKEN = 40;
const ACCURACY_TIMEOUT_MS = 2 * 60 * 60_000;

export function runServingPeer(program: PeerProgram, plan: Plan): Promise<Outcome>;
export function runServingPeer(program: PeerProgram, plan: AccuracyPlan): Promise<Accuracy>;
export async function runServingPeer(program: PeerProgram, plan: Plan | AccuracyPlan): Promise<Outcome | Accuracy> {
  const child = fork(fileURLToPath(new URL(`./peers/${program}.ts`, import.meta.url)), {
    // Output of native libraries must not mix with the table.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    // Its own process group: Ctrl-C reaches it through stopServingPeers, so that it can clean up.
    detached: true,
    env: peerEnv(program),
  });
  running.add(child);
  let errorOutput = '';
  child.stderr!.on('data', (chunk) => {
    errorOutput = (errorOutput + chunk).slice(-4000);
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), chooseTimeout(plan));
  try {
    return await new Promise<Outcome | Accuracy>((resolve, reject) => {
      child.on('message', (message: PeerMessage) => {
        if ('outcome' in message) resolve(message.outcome);
        else reject(new Error(`${program} ${plan.variant}: ${message.failure}\n${errorOutput}`));
      });
      child.on('error', reject);
      child.on('exit', (code, signal) => {
        reject(new Error(`${program} ${plan.variant}: process ended (${signal ?? code}): ${errorOutput.trim()}`));
      });
      child.send(plan);
    });
  } finally {
    clearTimeout(timer);
    await waitForExit(child);
    running.delete(child);
  }
}

function chooseTimeout(plan: Plan | AccuracyPlan): number {
  if (!('batch' in plan)) return ACCURACY_TIMEOUT_MS;
  return TIMEOUT_MS + TIMEOUT_MS_PER_PROMPT_TOKEN * plan.batch.prompts.flat().length;
}

/** Stops running peers; their runs reject. A peer also exits when this process dies. */
export function stopServingPeers(): void {
  for (const child of running) if (child.connected) child.disconnect();
}

/** Attune's malloc settings are those of `npm start`; other peers run with the unchanged environment. */
function peerEnv(program: PeerProgram): NodeJS.ProcessEnv {
  return program.startsWith('attune') ? { ...process.env, ...MALLOC_ENV } : process.env;
}

/** Waits for 'exit', because 'close' is not emitted if this side has closed the channel. */
async function waitForExit(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const end = new Promise((resolve) => child.once('exit', resolve));
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
  await end;
  clearTimeout(timer);
}
