// attune start: runs Postgres, migrations, the API and the trainer, and creates the default policy on the first start.

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { startEdge } from '../edge/node.ts';
import { STUCK } from '../edge/postgres-watchdog.ts';
import { connect } from '../shared/database/connect.ts';
import { type Lock, tryAcquireLock } from '../shared/database/lock.ts';
import { AttuneError } from '../shared/error.ts';
import { log } from '../shared/log.ts';
import { openLog } from '../shared/log-output.ts';
import { waitForSignal } from '../shared/process.ts';
import { ensureDefaultPolicy } from '../shared/publish/default-policy.ts';
import { readSettings } from '../shared/settings.ts';
import { openLocalStore } from '../shared/store/local-store.ts';
import { openContext } from './context.ts';
import { restartProcess, restartWithMallocEnv } from './malloc.ts';
import { preparePages } from './pages.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));

export function addStart(program: Command): void {
  program
    .command('start')
    .description('run Postgres, the API and the scheduled trainer on this machine')
    .addHelpText('after', '\nExamples:\n  $ npx attune start\n  $ PORT=9000 TRAIN_MIN_PAIRS=32 npx attune start\n')
    .action(start);
}

async function start(): Promise<void> {
  restartWithMallocEnv();
  const stopped = waitForSignal();
  const logLine = (line: string) => log.info('attune', line);
  const isText = openLog(readSettings(process.env)) === 'text';
  const attune = await startAttune(process.env, logLine);
  if (isText) printBanner(attune.url, attune.needsKey);
  else logLine(`ready at ${attune.url}`);
  logLine(`stopping (${await stopped})`);
  await attune.stop();
  logLine('stopped');
  process.exit(0);
}

export type RunningAttune = { url: string; needsKey: boolean; stop(): Promise<void> };

/** Starts Postgres, migrates it, ensures an active policy, serves the API in this process and trains in a child process. */
export async function startAttune(
  env: NodeJS.ProcessEnv,
  logLine: (line: string) => void,
  trainerOutput: 'inherit' | 'ignore' = 'inherit',
): Promise<RunningAttune> {
  const context = await openContext(logLine, env);
  const { settings, databaseUrl } = context;
  const connection = connect(databaseUrl, { name: 'attune start', max: 1 });
  let lock: Lock | undefined;
  const close = async () => {
    await connection.close();
    await lock?.release();
    await context.close();
  };
  try {
    preparePages(logLine);
    lock = await lockHome(databaseUrl, settings.ATTUNE_HOME);
    const localStore = await openLocalStore(settings, connection.db);
    const policy = await ensureDefaultPolicy(connection, localStore, settings.PRECISION, () =>
      logLine('policy: converting the default policy, stories15M (15 million parameters); takes a few seconds, once'),
    );
    logLine(`policy: ${policy} is active`);
    const edge = await startEdge(settings, databaseUrl, restartStuck);
    const trainer = superviseTrainer({ ...env, DATABASE_URL: databaseUrl }, trainerOutput);
    logLine(
      `trainer: schedule "${settings.TRAIN_SCHEDULE}" (UTC); a round needs ${settings.TRAIN_MIN_PAIRS} new pairs`,
    );
    return {
      url: edge.url,
      needsKey: settings.API_KEY !== undefined,
      async stop() {
        await trainer.stop();
        await edge.close();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** `attune start` has no supervisor: it restarts itself. The trainer notices that its parent is gone, and exits. */
function restartStuck(): void {
  log.error('attune', `${STUCK}; restarting`);
  // The log is written without blocking.
  setTimeout(restartProcess, 1000);
}

/** Allows one `attune start` per folder and machine; others may share the Postgres. */
async function lockHome(databaseUrl: string, home: string): Promise<Lock> {
  const folder = path.resolve(home);
  const lockId = createHash('sha256').update(`${hostname()}:${folder}`).digest().readInt32BE();
  const lock = await tryAcquireLock(databaseUrl, lockId);
  if (lock) return lock;
  throw new AttuneError(`Attune already runs on ${folder}; stop it first, or set another ATTUNE_HOME and PORT`);
}

function printBanner(url: string, needsKey: boolean): void {
  // API_KEY may list several keys; this is the first.
  const key = needsKey ? ` -H "authorization: Bearer \${API_KEY%%,*}"` : '';
  console.log(`
Attune is ready at ${url}   (rate: ${url}/rate, API: ${url}/docs)

Try:
  curl ${url}/v1/completions${key} -H 'content-type: application/json' \\
    -d '{"prompt": "Once upon a time", "max_tokens": 60}'
`);
}

/** Runs the trainer as a child process, so that training never delays a response, and restarts it when it exits. */
function superviseTrainer(env: NodeJS.ProcessEnv, output: 'inherit' | 'ignore'): { stop(): Promise<void> } {
  let isStopping = false;
  let child: ChildProcess;
  const launch = () => {
    child = spawn(process.execPath, [CLI, 'train', '--schedule'], {
      env,
      // An IPC channel, so that the trainer exits when this process is killed; its own process group, so that Ctrl-C stops
      // it only when this process does, in order.
      stdio: ['ignore', output, 'inherit', 'ipc'],
      detached: true,
    });
    child.once('exit', (code, signal) => {
      if (isStopping) return;
      log.error('attune', `trainer: exited (${signal ?? code}); restarting in 2 s`);
      setTimeout(() => !isStopping && launch(), 2000);
    });
  };
  launch();
  return {
    async stop() {
      isStopping = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const killTimer = setTimeout(() => child.kill('SIGKILL'), 5000);
      await exited;
      clearTimeout(killTimer);
    },
  };
}
