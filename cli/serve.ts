// attune serve: only the API, for a machine whose Postgres and trainer run elsewhere.

import type { Command } from 'commander';
import { serve } from '../edge/node.ts';
import { log } from '../shared/log.ts';
import { openLog } from '../shared/log-output.ts';
import { waitForSignal } from '../shared/process.ts';
import { readSettings } from '../shared/settings.ts';
import { openContext } from './context.ts';
import { restartWithMallocEnv } from './malloc.ts';
import { preparePages } from './pages.ts';

export function addServe(program: Command): void {
  program
    .command('serve')
    .description('run only the API; Postgres and the trainer run elsewhere')
    .addHelpText('after', '\nExamples:\n  $ DATABASE_URL=postgres://… HOST=0.0.0.0 API_KEY=… npx attune serve\n')
    .action(async () => {
      restartWithMallocEnv();
      const stopped = waitForSignal();
      openLog(readSettings(process.env));
      const logLine = (line: string) => log.info('attune', line);
      preparePages(logLine);
      const context = await openContext(logLine);
      try {
        await serve(context.settings, context.databaseUrl, stopped);
      } finally {
        await context.close();
      }
      process.exit(0);
    });
}
