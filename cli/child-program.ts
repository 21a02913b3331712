// A Node program that runs beside this one, in a process group of its own, so that Ctrl-C reaches it through us, in order.
// It ends when this process does, however that ends, and takes along whatever it started.

import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { AttuneError } from '../shared/error.ts';

/** Run in the program, and in what it runs as Node does, before the program itself. */
const STOP_WITH_PARENT = `data:text/javascript,${encodeURIComponent(
  "process.once('disconnect', () => { process.disconnect = undefined; process.kill(process.pid, 'SIGTERM'); });" +
    'process.channel?.unref();',
)}`;
/** Milliseconds until it is ready, and until it has ended. */
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 8_000;

export type ChildProgramOptions = {
  /** for messages */
  name: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  output?: 'inherit' | 'ignore';
  /** Whether a message that it sends says that it is ready. */
  isReady(message: unknown): boolean;
};

export type ChildProgram = {
  name: string;
  /** Resolves with how it ended, whoever ended it. */
  ended: Promise<string>;
  stop(): Promise<void>;
};

/** Resolves when it is ready. */
export async function startChildProgram(options: ChildProgramOptions): Promise<ChildProgram> {
  const { name, args, env, output = 'inherit', isReady } = options;
  const child = spawn(process.execPath, ['--import', STOP_WITH_PARENT, ...args], {
    env,
    stdio: ['ignore', output, 'inherit', 'ipc'],
    detached: true,
  });
  const ended = new Promise<string>((resolve) =>
    child.once('error', (error) => resolve(error.message)).once('exit', (code, signal) => resolve(`${signal ?? code}`)),
  );
  const ready = new Promise<true>((resolve) => child.on('message', (message) => isReady(message) && resolve(true)));
  const hurry = new AbortController();
  const late = sleep(START_TIMEOUT_MS, `not ready after ${START_TIMEOUT_MS / 1000} s`, { signal: hurry.signal }).catch(
    () => '',
  );
  const outcome = await Promise.race([ready, ended, late]);
  hurry.abort();
  const stop = () => stopGroup(child, ended);
  if (outcome === true) return { name, ended, stop };
  await stop();
  throw new AttuneError(`${name} did not start (${outcome}); what it said stands above`, { status: 503 });
}

/** Whatever outlives the program is killed. */
async function stopGroup(child: ChildProcess, ended: Promise<string>): Promise<void> {
  if (child.pid === undefined) return;
  child.kill('SIGTERM');
  const hurry = new AbortController();
  await Promise.race([ended, sleep(STOP_TIMEOUT_MS, undefined, { signal: hurry.signal }).catch(() => {})]);
  hurry.abort();
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Nobody of the group is left.
  }
  await ended;
}
