// attune dev-worker: everything that `attune start` runs, behind the Worker in workerd, Cloudflare's runtime. The API on
// Node takes the container's place, so Docker is not required; wrangler is. For development only.

import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { AttuneError } from '../shared/error.ts';
import { log } from '../shared/log.ts';
import { openLog } from '../shared/log-output.ts';
import { waitForSignal } from '../shared/process.ts';
import { describeSettings, readSettings, type Settings } from '../shared/settings.ts';
import { startBucketSync } from './bucket-sync.ts';
import type { ChildProgram } from './child-program.ts';
import { openContext } from './context.ts';
import { restartWithMallocEnv } from './malloc.ts';
import { startAttune } from './start.ts';
import { startWrangler } from './wrangler.ts';

export function addDevWorker(program: Command): void {
  program
    .command('dev-worker')
    .description('run the Cloudflare Worker on this machine, with Postgres, policies and trainer (for development)')
    .addHelpText(
      'after',
      '\nSettings in the environment are passed on to the Worker.\n' +
        '\nExamples:\n  $ npm run dev:worker\n  $ PORT=9000 WORKER_POLICY_BYTES=0 npm run dev:worker\n',
    )
    .action(devWorker);
}

/** Timeout for wrangler to build the Worker. */
const READY_TIMEOUT_MS = 30_000;

const logLine = (line: string) => log.info('attune', line);

async function devWorker(): Promise<void> {
  restartWithMallocEnv();
  const stopped = waitForSignal();
  const interrupted = new AbortController();
  void stopped.then((signal) => interrupted.abort(new AttuneError(`stopped (${signal})`)));
  // For a person, also where several processes' output is piped together.
  const env = { LOG_FORMAT: 'text', ...process.env };
  openLog(readSettings(env));
  const worker = await startWorker(env, interrupted.signal);
  printBanner(worker);
  const exits = worker.programs.map(async ({ name, exited }) => ({ name, status: await exited }));
  const end = await Promise.race([stopped, ...exits]);
  const isInterrupted = typeof end === 'string';
  logLine(isInterrupted ? `stopping (${end})` : `${end.name} exited unexpectedly (${end.status}); stopping`);
  await worker.stop();
  logLine('stopped');
  process.exit(isInterrupted ? 0 : 1);
}

type RunningWorker = {
  url: string;
  nodeUrl: string;
  settings: Settings;
  programs: ChildProgram[];
  stop(): Promise<void>;
};

async function startWorker(env: NodeJS.ProcessEnv, signal: AbortSignal): Promise<RunningWorker> {
  /** Called in reverse order of their start. */
  const closers: (() => Promise<void>)[] = [];
  const onStop = (close: () => Promise<void>) => {
    closers.unshift(close);
    signal.throwIfAborted();
  };
  const stop = async () => {
    for (const close of closers.splice(0)) await close();
  };
  try {
    const context = await openContext(logLine, env);
    onStop(context.close);
    const { settings, databaseUrl } = context;
    const port = await findPort(settings);
    // Behind the Worker: on loopback, with the same keys.
    const attune = await startAttune({ ...env, DATABASE_URL: databaseUrl, HOST: '127.0.0.1', PORT: '0' }, logLine);
    onStop(attune.stop);
    const state = path.resolve(settings.ATTUNE_HOME, 'worker');
    const bucket = await startBucketSync(state, databaseUrl, env);
    onStop(bucket.stop);
    const inferenceUrl = settings.INFERENCE_URL ?? attune.url;
    const wrangler = await startWrangler({
      host: settings.HOST,
      port,
      state,
      databaseUrl,
      // readSettings allows a missing API_KEY on loopback only.
      variables: { ...workerVariables(env), LOOPBACK: String(!settings.API_KEY), INFERENCE_URL: inferenceUrl },
    });
    onStop(wrangler.stop);
    const host = settings.HOST.includes(':') ? `[${settings.HOST}]` : settings.HOST;
    const url = `http://${host}:${port}`;
    await waitUntilReady(url, signal);
    return { url, nodeUrl: inferenceUrl, settings, programs: [bucket, wrangler], stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Variables that only the processes on this machine use, or that dev-worker sets. */
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

/** PORT, or a free port for 0. Checked here, because wrangler silently takes another port if it is in use. */
function findPort({ HOST, PORT }: Settings): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      reject(new AttuneError(`PORT: ${PORT} is in use on ${HOST}; stop the process on it, or set PORT`));
    });
    server.listen(PORT, HOST, () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** Polls /status, because wrangler reports ready before it has built the Worker, even if the build fails. */
async function waitUntilReady(url: string, signal: AbortSignal): Promise<void> {
  for (const endMs = performance.now() + READY_TIMEOUT_MS; performance.now() < endMs; ) {
    const response = await fetch(`${url}/status`, { signal: AbortSignal.timeout(5000) }).catch(() => null);
    await response?.body?.cancel();
    if (response) return;
    signal.throwIfAborted();
    await sleep(200);
  }
  throw new AttuneError(`the Worker does not respond at ${url}; see the output of wrangler dev above`, {
    status: 503,
  });
}

function printBanner({ url, nodeUrl, settings }: RunningWorker): void {
  const key = settings.API_KEY ? ` -H "authorization: Bearer \${API_KEY%%,*}"` : '';
  const maxMiB = (settings.WORKER_POLICY_BYTES / 2 ** 20).toFixed(1);
  console.log(`
Attune is ready at ${url}   (API: ${url}/docs), as a Worker

  ${url}   workerd: every route; policies served at fp32, up to ${maxMiB} MiB
  ${nodeUrl}   Node, in place of the container: all other policies
  The response headers x-attune-compute and x-attune-compute-reason report where a request was computed and why;
  ${url}/health reports the same for the active policy. The trainer runs the schedule: wrangler dev has no cron.

Try:
  curl -i ${url}/v1/completions${key} -H 'content-type: application/json' \\
    -d '{"prompt": "Once upon a time", "max_tokens": 60}'
`);
}
