// attune start: Postgres, migrations, the default policy, the API and the trainer, from one command.

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { startEdge } from '../edge/node.ts';
import { connect } from '../shared/database/connect.ts';
import { type Release, tryAcquireLock } from '../shared/database/lock.ts';
import { AttuneError } from '../shared/error.ts';
import { waitForSignal } from '../shared/process.ts';
import { ensureDefaultPolicy } from '../shared/publish/default-policy.ts';
import { openLocalStore } from '../shared/store/local-store.ts';
import { openContext } from './context.ts';
import { restartWithMallocEnv } from './malloc.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));

export function addStart(program: Command): void {
  program
    .command('start')
    .description('run everything on this machine: Postgres, API, scheduled trainer')
    .addHelpText('after', '\nExamples:\n  $ npx attune start\n  $ PORT=9000 TRAIN_MIN_PAIRS=32 npx attune start\n')
    .action(start);
}

const say = (line: string) => console.log(`attune: ${line}`);

async function start(): Promise<void> {
  restartWithMallocEnv();
  const stopped = waitForSignal();
  const everything = await startAttune(process.env, say);
  printBanner(everything.url, everything.needsKey);
  say(`stopping (${await stopped})`);
  await everything.stop();
  say('stopped');
  process.exit(0);
}

export type RunningAttune = { url: string; needsKey: boolean; stop(): Promise<void> };

/** Postgres, migrations, the default policy, the API in this process and the trainer in one of its own. */
export async function startAttune(
  env: NodeJS.ProcessEnv,
  say: (line: string) => void,
  trainerOutput: 'inherit' | 'ignore' = 'inherit',
): Promise<RunningAttune> {
  const room = await openContext(say, env);
  const { settings, databaseUrl } = room;
  const connection = connect(databaseUrl, { name: 'attune start', max: 1 });
  let unclaim: Release = async () => {};
  const leave = async () => {
    await connection.close();
    await unclaim();
    await room.close();
  };
  try {
    unclaim = await lockHome(databaseUrl, settings.ATTUNE_HOME);
    const shelf = await openLocalStore(settings);
    const policy = await ensureDefaultPolicy(connection, shelf, settings.PRECISION, () =>
      say('policy: converting the default policy, stories15M (15 million parameters); a few seconds, once'),
    );
    say(`policy: ${policy} is active`);
    const edge = await startEdge(settings, databaseUrl);
    const trainer = superviseTrainer({ ...env, DATABASE_URL: databaseUrl }, trainerOutput);
    say(
      `trainer: a round is considered at "${settings.TRAIN_SCHEDULE}" (UTC) once there are ${settings.TRAIN_MIN_PAIRS} new pairs`,
    );
    return {
      url: edge.url,
      needsKey: settings.API_KEY !== undefined,
      async stop() {
        await trainer.stop();
        await edge.close();
        await leave();
      },
    };
  } catch (error) {
    await leave();
    throw error;
  }
}

/** One start for a folder of one machine; others may share the Postgres. Returns how to let go of it. */
async function lockHome(databaseUrl: string, home: string): Promise<Release> {
  const folder = path.resolve(home);
  const claim = createHash('sha256').update(`${hostname()}:${folder}`).digest().readInt32BE();
  const release = await tryAcquireLock(databaseUrl, claim);
  if (release) return release;
  throw new AttuneError(
    `Attune already runs on ${folder}; stop it first, or set ATTUNE_HOME and PORT for a second one`,
  );
}

function printBanner(url: string, needsKey: boolean): void {
  // The first, where API_KEY lists several.
  const key = needsKey ? ` -H "authorization: Bearer \${API_KEY%%,*}"` : '';
  console.log(`
Attune is ready at ${url}   (API: ${url}/docs)

Try:
  curl ${url}/v1/completions${key} -H 'content-type: application/json' \\
    -d '{"prompt": "Once upon a time", "max_tokens": 60}'
`);
}

/** The trainer as a process of its own: training never delays an answer, and a trainer that dies comes back. */
function superviseTrainer(env: NodeJS.ProcessEnv, output: 'inherit' | 'ignore'): { stop(): Promise<void> } {
  let stopping = false;
  let child: ChildProcess;
  const launch = () => {
    child = spawn(process.execPath, [CLI, 'train', '--schedule'], {
      env,
      // A channel, so that the trainer ends by itself when we are killed; a group of its own, so that Ctrl-C reaches it
      // through us, in order.
      stdio: ['ignore', output, 'inherit', 'ipc'],
      detached: true,
    });
    child.once('exit', (code, signal) => {
      if (stopping) return;
      console.error(`attune: trainer: ended (${signal ?? code}); starting it again in 2 s`);
      setTimeout(() => !stopping && launch(), 2000);
    });
  };
  launch();
  return {
    async stop() {
      stopping = true;
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      const impatience = setTimeout(() => child.kill('SIGKILL'), 5000);
      await ended;
      clearTimeout(impatience);
    },
  };
}
