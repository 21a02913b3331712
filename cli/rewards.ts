// attune rewards: lists and shows rewards. `attune train --reward` trains one.

import type { Command } from 'commander';
import { desc, eq } from 'drizzle-orm';
import { policies } from '../shared/database/schema.ts';
import { manifestSchema } from '../shared/package/manifest.ts';
import { getReward } from '../shared/store/registry.ts';
import { withContext } from './context.ts';

export function addRewards(program: Command): void {
  const group = program.command('rewards').description('list and show rewards');

  group
    .command('list')
    .description('list all rewards with their accuracy on held-out pairs, newest first')
    .action(() =>
      withContext(async ({ db }) => {
        const rows = await db.select().from(policies).where(eq(policies.kind, 'reward')).orderBy(desc(policies.id));
        for (const row of rows)
          console.log(`${row.id}  ${row.created_at.toISOString()}  ${row.name}  ${describeAccuracy(row.manifest)}`);
        if (rows.length === 0) console.log('no rewards yet; `attune train --reward` trains one');
      }),
    );

  group
    .command('show')
    .argument('<id>', 'id of the reward')
    .description('print a reward’s manifest')
    .action((id: string) =>
      withContext(async ({ db }) => console.log(JSON.stringify((await getReward(db, id)).manifest, null, 2))),
    );
}

/** accuracy 63.5% [58.1, 68.2] */
function describeAccuracy(manifest: unknown): string {
  const { metrics, intervals } = manifestSchema.parse(manifest);
  const percent = (value: number) => (100 * value).toFixed(1);
  const accuracy = metrics['rewards/accuracies'];
  const interval = intervals?.['rewards/accuracies'];
  if (accuracy === undefined) return '';
  return `accuracy ${percent(accuracy)}%${interval ? ` [${percent(interval.low)}, ${percent(interval.high)}]` : ''}`;
}
