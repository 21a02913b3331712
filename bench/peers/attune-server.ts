// The API as `attune serve` runs it, on a home that the benchmark made, until whoever started it is gone.
import { startEdge } from '../../edge/node.ts';
import { openPostgres } from '../../shared/database/embedded.ts';
import { migrateDatabase } from '../../shared/database/migrate.ts';
import { readSettings } from '../../shared/settings.ts';

const postgres = await openPostgres(process.env.ATTUNE_HOME!);
await migrateDatabase(postgres.url);
const edge = await startEdge(readSettings(process.env), postgres.url);
process.once('disconnect', async () => {
  await edge.close();
  await postgres.leave();
  process.exit(0);
});
process.send!({ url: edge.url });
