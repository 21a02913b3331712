// Runs a program of this repository as its supervisor would: when the process ends, for whatever reason, it is started
// again. What it prints goes to a file.

import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../cli.ts', import.meta.url));
const RESTART_DELAY_MS = 200;

export class Supervisor {
  /** How often the process ended without having been killed from here. */
  endedItself = 0;
  private readonly args: string[];
  private readonly env: () => Record<string, string>;
  private readonly logFile: string;
  private child: ChildProcess | undefined;
  private isKilled = false;
  private isStopping = false;

  /** `env` is asked at each start. */
  constructor(args: string[], env: () => Record<string, string>, logFile: string) {
    this.args = args;
    this.env = env;
    this.logFile = logFile;
  }

  get pid(): number {
    return this.child!.pid!;
  }

  start(): void {
    const log = createWriteStream(this.logFile, { flags: 'a' });
    const child = spawn(process.execPath, [CLI, ...this.args], {
      env: { ...process.env, ...this.env() },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    child.once('close', () => log.end());
    child.once('exit', async () => {
      if (this.isStopping) return;
      if (!this.isKilled) this.endedItself++;
      this.isKilled = false;
      await sleep(RESTART_DELAY_MS);
      if (!this.isStopping) this.start();
    });
  }

  /** SIGKILL; it is started again. */
  kill(): void {
    this.isKilled = true;
    this.child?.kill('SIGKILL');
  }

  /** The process ends and is not started again. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL'): Promise<void> {
    this.isStopping = true;
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await exited;
  }
}
