// attune demo: the whole feedback loop with simulated raters on a temporary server, and an HTML report.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { getErrorMessage } from '../shared/error.ts';
import { rejectOnSignal, waitForSignal } from '../shared/process.ts';
import { runDemo } from '../tools/demo/demo.ts';
import { restartWithMallocEnv } from './malloc.ts';
import { startAttune } from './start.ts';

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description(
      'run the feedback loop with simulated raters and write an HTML report; takes under 10 minutes on two idle cores',
    )
    .option('--out <file>', 'path of the report', 'attune-demo.html')
    .option('--open', 'leave the server running afterwards, with its console, until Ctrl-C')
    .option('--url <url>', 'a running Attune server; default: start one in a temporary folder')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune demo\n  $ npx attune demo --open\n  $ npx attune demo --url http://127.0.0.1:8787 --out report.html\n',
    )
    .action(async (options: { out: string; url?: string; open?: true }) => {
      const log = (line: string) => console.log(line);
      if (options.url)
        await runDemo({ url: options.url, apiKey: process.env.API_KEY?.split(',')[0], out: options.out, log });
      else {
        restartWithMallocEnv();
        await withTemporaryServer(async (url) => {
          const demo = runDemo({ url, out: options.out, log });
          if (!options.open) return rejectOnSignal(demo);
          const stopped = waitForSignal();
          const failure = await Promise.race([demo.then(() => null, getErrorMessage), stopped.then(() => undefined)]);
          // What a demo that failed has left behind can be looked at as well.
          if (failure) console.error(`attune: ${failure}`);
          if (failure !== undefined)
            log(`The server is running: ${url}/console (Ctrl-C stops it and removes its data)`);
          await stopped;
        });
      }
      process.exit(0);
    });
}

async function withTemporaryServer(work: (url: string) => Promise<void>): Promise<void> {
  const home = await mkdtemp(path.join(tmpdir(), 'attune-demo-'));
  try {
    // Scheduled rounds are effectively off: the demo requests its own.
    const env = {
      ...process.env,
      ATTUNE_HOME: home,
      DATABASE_URL: undefined,
      HOST: undefined,
      API_KEY: undefined,
      PORT: '0',
      TRAIN_SCHEDULE: '0 0 1 1 *',
      // The gate needs enough held-out pairs for a decision, and the demo has few: hold out a third.
      TRAIN_HELD_OUT: '0.33',
    };
    const server = await startAttune(env, (line) => console.log(`attune: ${line}`), 'ignore');
    try {
      await work(server.url);
    } finally {
      await server.stop();
    }
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
