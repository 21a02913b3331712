// attune dev-worker: what `attune start` runs, and the Worker in front of it, in workerd as Cloudflare runs it, without
// Docker: Node stands in for the container. It is for developing, and needs wrangler, which production does not.

import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { AttuneError } from '../shared/error.ts';
import { waitForSignal } from '../shared/process.ts';
import { describeSettings, type Settings } from '../shared/settings.ts';
import { startBucketSync } from './bucket-sync.ts';
import type { ChildProgram } from './child-program.ts';
import { openContext } from './context.ts';
import { restartWithMallocEnv } from './malloc.ts';
import { startAttune } from './start.ts';
import { startWrangler } from './wrangler.ts';

export function addDevWorker(program: Command): void {
  program
    .command('dev-worker')
    .description('run the Cloudflare Worker on this machine, with Postgres, policies and trainer')
    .addHelpText(
      'after',
      '\nSettings of the environment go on to the Worker.\n' +
        '\nExamples:\n  $ npm run dev:worker\n  $ PORT=9000 WORKER_POLICY_BYTES=0 npm run dev:worker\n',
    )
    .action(devWorker);
}

/** Milliseconds in which the Worker is built. */
const READY_TIMEOUT_MS = 30_000;

const log = (line: string) => console.log(`attune: ${line}`);

async function devWorker(): Promise<void> {
  restartWithMallocEnv();
  const stopped = waitForSignal();
  const hurry = new AbortController();
  void stopped.then((signal) => hurry.abort(new AttuneError(`stopped (${signal})`)));
  const worker = await startWorker(process.env, hurry.signal);
  printBanner(worker);
  const deaths = worker.programs.map(async ({ name, ended }) => ({ name, how: await ended }));
  const end = await Promise.race([stopped, ...deaths]);
  const isAsked = typeof end === 'string';
  log(isAsked ? `stopping (${end})` : `${end.name} ended by itself (${end.how}); stopping what else runs`);
  await worker.stop();
  log('stopped');
  process.exit(isAsked ? 0 : 1);
}

type RunningWorker = {
  url: string;
  nodeUrl: string;
  settings: Settings;
  programs: ChildProgram[];
  stop(): Promise<void>;
};

async function startWorker(env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<RunningWorker> {
  // What was opened, in order; it is put away from the last to the first.
  const opened: (() => Promise<void>)[] = [];
  const open = (close: () => Promise<void>) => {
    opened.push(close);
    signal.throwIfAborted();
  };
  const stop = async () => {
    for (const close of opened.splice(0).reverse()) await close();
  };
  try {
    const room = await openContext(log, env);
    open(room.close);
    const { settings, databaseUrl } = room;
    const port = await findPort(settings);
    // Behind the Worker: on the loopback, with the same keys.
    const behind = { ...env, DATABASE_URL: databaseUrl, HOST: '127.0.0.1', PORT: '0' };
    const everything = await startAttune(behind, log);
    open(everything.stop);
    const state = path.resolve(settings.ATTUNE_HOME, 'worker');
    const bucket = await startBucketSync(state, databaseUrl, env);
    open(bucket.stop);
    const inference = settings.INFERENCE_URL ?? everything.url;
    const wrangler = await startWrangler({
      host: settings.HOST,
      port,
      state,
      databaseUrl,
      // openRoom lets no other address than the loopback's do without a key.
      variables: { ...workerVariables(env), LOOPBACK: String(!settings.API_KEY), INFERENCE_URL: inference },
    });
    open(wrangler.stop);
    const host = settings.HOST.includes(':') ? `[${settings.HOST}]` : settings.HOST;
    const url = `http://${host}:${port}`;
    await waitUntilReady(url, signal);
    return { url, nodeUrl: inference, settings, programs: [bucket, wrangler], stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** What only the processes of this machine need, or is the Worker's own. */
const EXCLUDED_VARIABLES = /^(HOST|PORT|ATTUNE_HOME|DATABASE_URL|POLICY_STORE|AWS_\w+|INFERENCE_URL)$/;

function workerVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const names = describeSettings().map(({ name }) => name);
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = env[name];
      return value && !EXCLUDED_VARIABLES.test(name) ? [[name, value]] : [];
    }),
  );
}

/** PORT, where nobody listens there, or a free one for 0: wrangler would take another without a word. */
function findPort({ HOST, PORT }: Settings): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      reject(new AttuneError(`PORT: ${PORT} is in use on ${HOST}; stop what listens there, or set PORT`));
    });
    server.listen(PORT, HOST, () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** wrangler calls itself ready before it has built the Worker, and where it cannot. */
async function waitUntilReady(url: string, signal: AbortSignal): Promise<void> {
  for (const ends = performance.now() + READY_TIMEOUT_MS; performance.now() < ends; ) {
    const alive = await fetch(`${url}/status`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
    await alive?.body?.cancel();
    if (alive) return;
    signal.throwIfAborted();
    await sleep(200);
  }
  throw new AttuneError(`the Worker does not answer at ${url}; what wrangler dev said of it stands above`, {
    status: 503,
  });
}

function printBanner({ url, nodeUrl, settings }: RunningWorker): void {
  const key = settings.API_KEY ? ` -H "authorization: Bearer \${API_KEY%%,*}"` : '';
  const most = (settings.WORKER_POLICY_BYTES / 2 ** 20).toFixed(1);
  console.log(`
Attune is ready at ${url}   (API: ${url}/docs), as a Worker

  ${url}   workerd: every route; policies served at fp32, ${most} MiB or less
  ${nodeUrl}   Node, in place of the container: all others
  Which of the two computed an answer, and why, is in its headers x-attune-compute and x-attune-compute-reason,
  and for the active policy in ${url}/health. Rounds are considered by the trainer: wrangler dev has no cron.

Try:
  curl -i ${url}/v1/completions${key} -H 'content-type: application/json' \\
    -d '{"prompt": "Once upon a time", "max_tokens": 60}'
`);
}
