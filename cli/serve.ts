// attune serve: the API alone, for a machine whose Postgres and trainer are elsewhere.

import path from 'node:path';
import type { Command } from 'commander';
import { startEdge } from '../edge/node.ts';
import { connect } from '../shared/database/connect.ts';
import { ensurePolicy } from '../shared/policy/default.ts';
import { openFolderStore } from '../shared/policy/store.ts';
import { returnFreedMemory } from './allocator.ts';
import { openRoom, untilStopped } from './room.ts';

export function addServe(program: Command): void {
  program
    .command('serve')
    .description('run the API alone')
    .addHelpText('after', '\nExamples:\n  $ DATABASE_URL=postgres://… HOST=0.0.0.0 API_KEY=… npx attune serve\n')
    .action(async () => {
      returnFreedMemory();
      const stopped = untilStopped();
      const room = await openRoom((line) => console.log(`attune: ${line}`));
      try {
        const connection = connect(room.databaseUrl, { max: 2 });
        const store = await openFolderStore(path.join(room.settings.ATTUNE_HOME, 'policies'));
        await ensurePolicy(connection, store, room.settings.PRECISION, () =>
          console.log('attune: policy: converting the default policy, stories15M; a few seconds, once'),
        );
        await connection.close();
        const edge = await startEdge(room.settings, room.databaseUrl);
        console.log(`attune: serving at ${edge.url}`);
        await stopped;
        await edge.close();
      } finally {
        await room.leave();
      }
      process.exit(0);
    });
}
