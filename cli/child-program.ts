// A Node program as a child process in its own process group: Ctrl-C reaches only this process, which then stops its
// children in order. If this process is killed, the program and its own Node children exit too.

import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { AttuneError } from '../shared/error.ts';

/** Preloaded into the program and its own Node children: ends them when the IPC channel closes. */
const STOP_WITH_PARENT = `data:text/javascript,${encodeURIComponent(
  "process.once('disconnect', () => { process.disconnect = undefined; process.kill(process.pid, 'SIGTERM'); });" +
    'process.channel?.unref();',
)}`;
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 8_000;

export type ChildProgramOptions = {
  /** Name in messages. */
  name: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  output?: 'inherit' | 'ignore';
  /** Whether an IPC message of the program means that it is ready. */
  isReady(message: unknown): boolean;
};

export type ChildProgram = {
  name: string;
  /** Resolves with the exit code or signal. */
  exited: Promise<string>;
  stop(): Promise<void>;
};

/** Resolves when the program is ready. */
export async function startChildProgram(options: ChildProgramOptions): Promise<ChildProgram> {
  const { name, args, env, output = 'inherit', isReady } = options;
  const child = spawn(process.execPath, ['--import', STOP_WITH_PARENT, ...args], {
    env,
    stdio: ['ignore', output, 'inherit', 'ipc'],
    detached: true,
  });
  const exited = new Promise<string>((resolve) =>
    child.once('error', (error) => resolve(error.message)).once('exit', (code, signal) => resolve(`${signal ?? code}`)),
  );
  const ready = new Promise<true>((resolve) => child.on('message', (message) => isReady(message) && resolve(true)));
  const timeout = sleep(START_TIMEOUT_MS, `not ready after ${START_TIMEOUT_MS / 1000} s`, { ref: false });
  const outcome = await Promise.race([ready, exited, timeout]);
  const stop = () => stopGroup(child, exited);
  if (outcome === true) return { name, exited, stop };
  await stop();
  throw new AttuneError(`${name} did not start (${outcome}); see its output above`, { status: 503 });
}

/** Stops the program, and kills what is left of its process group. */
async function stopGroup(child: ChildProcess, exited: Promise<string>): Promise<void> {
  if (child.pid === undefined) return;
  child.kill('SIGTERM');
  await Promise.race([exited, sleep(STOP_TIMEOUT_MS, undefined, { ref: false })]);
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group is empty.
  }
  await exited;
}
