// attune demo: the whole loop with simulated raters, on a folder of its own, and a report to look at.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { rejectOnSignal } from '../shared/process.ts';
import { runDemo } from '../tools/demo/demo.ts';
import { restartWithMallocEnv } from './malloc.ts';
import { startAttune } from './start.ts';

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description('watch the whole loop learn a taste from simulated raters, and write a report (under 10 minutes)')
    .option('--out <file>', 'where the report goes', 'attune-demo.html')
    .option(
      '--url <url>',
      'an Attune that already runs; without it, one is started for the demo in a folder of its own',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune demo\n  $ npx attune demo --url http://127.0.0.1:8787 --out report.html\n',
    )
    .action(async (options: { out: string; url?: string }) => {
      const log = (line: string) => console.log(line);
      if (options.url)
        await runDemo({ url: options.url, apiKey: process.env.API_KEY?.split(',')[0], out: options.out, log });
      else {
        restartWithMallocEnv();
        await withOwnAttune((url) => runDemo({ url, out: options.out, log }));
      }
      process.exit(0);
    });
}

async function withOwnAttune(work: (url: string) => Promise<void>): Promise<void> {
  const home = await mkdtemp(path.join(tmpdir(), 'attune-demo-'));
  try {
    // No schedule in between: the demo asks for its rounds itself.
    const env = {
      ...process.env,
      ATTUNE_HOME: home,
      DATABASE_URL: undefined,
      HOST: undefined,
      API_KEY: undefined,
      PORT: '0',
      TRAIN_SCHEDULE: '0 0 1 1 *',
      // The gate wants to be sure, and a demo has few pairs: a third of them is enough for that.
      TRAIN_HELD_OUT: '0.33',
    };
    const everything = await startAttune(env, (line) => console.log(`attune: ${line}`), 'ignore');
    try {
      await rejectOnSignal(work(everything.url));
    } finally {
      await everything.stop();
    }
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
