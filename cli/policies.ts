// attune policies: what there is, what is active, and how others come in and go out.

import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { desc } from 'drizzle-orm';
import { policies } from '../shared/database/schema.ts';
import { AttuneError } from '../shared/error.ts';
import { type FetchProgress, fetchCheckpoint } from '../shared/policy/hub.ts';
import { importPolicy } from '../shared/policy/publish.ts';
import { activatePolicy, activePolicyId, findPolicy, rollbackPolicy } from '../shared/policy/registry.ts';
import { inRoom } from './room.ts';

export function addPolicies(program: Command): void {
  const group = program
    .command('policies')
    .description('list, import, show, promote, roll back and export policies')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune policies list\n  $ npx attune policies import ./my-checkpoint --promote\n  $ npx attune policies import hf:HuggingFaceTB/SmolLM2-135M\n  $ npx attune policies rollback\n',
    );

  group
    .command('list')
    .description('every policy, newest first; * marks the active one')
    .action(() =>
      inRoom(async ({ db }) => {
        const active = await activePolicyId(db);
        const rows = await db.select().from(policies).orderBy(desc(policies.id));
        for (const row of rows)
          console.log(
            `${row.id === active ? '*' : ' '} ${row.id}  ${row.created_at.toISOString()}  ${row.name}${row.parent_id ? `  from ${row.parent_id}` : ''}`,
          );
        if (rows.length === 0) console.log('there are no policies yet; `attune start` makes the default one');
      }),
    );

  group
    .command('import')
    .argument('<source>', 'a folder in Hugging Face layout, or hf:OWNER/NAME')
    .option('--name <name>', 'what to call it')
    .option('--promote', 'make it the active policy')
    .description('import a Llama-type checkpoint')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune policies import ./SmolLM2-135M --promote\n  $ HF_TOKEN=… npx attune policies import hf:OWNER/NAME\n',
    )
    .action((source: string, options: { name?: string; promote?: boolean }) =>
      inRoom(async ({ db }, store) => {
        const hub = source.startsWith('hf:') ? source.slice(3) : null;
        const folder = hub ? await mkdtemp(path.join(tmpdir(), 'attune-import-')) : path.resolve(source);
        let origin: { source: string; license?: string } | undefined;
        try {
          if (hub) {
            console.log(`fetching ${hub}`);
            const { source, license } = await fetchCheckpoint(hub, folder, { onProgress: showFetch() });
            origin = { source, license };
          }
          const id = await importPolicy(db, store, folder, options.name ?? hub ?? path.basename(folder), origin);
          if (options.promote) await activatePolicy(db, id, 'imported');
          console.log(`${id}${options.promote ? ' is active' : ''}`);
        } finally {
          if (hub) await rm(folder, { recursive: true, force: true });
        }
      }),
    );

  group
    .command('show')
    .argument('<id>')
    .description('a policy’s manifest')
    .action((id: string) =>
      inRoom(async ({ db }) => console.log(JSON.stringify((await findPolicy(db, id)).manifest, null, 2))),
    );

  group
    .command('promote')
    .argument('<id>')
    .description('make a policy the active one; every edge swaps to it while it serves')
    .action((id: string) =>
      inRoom(async ({ db }, store) => {
        await findPolicy(db, id);
        await store.folderOf(id);
        await activatePolicy(db, id, 'promoted');
        console.log(`${id} is active`);
      }),
    );

  group
    .command('rollback')
    .description('make the previous policy the active one again')
    .action(() =>
      inRoom(async ({ db }, store) => console.log(`${await rollbackPolicy(db, store.folderOf)} is active`)),
    );

  group
    .command('export')
    .argument('<id>')
    .argument('<folder>', 'a new folder')
    .description('copy a policy’s package: transformers.js and any Hugging Face reader load it')
    .action((id: string, folder: string) =>
      inRoom(async ({ db }, store) => {
        await findPolicy(db, id);
        await cp(await store.folderOf(id), folder, { recursive: true, errorOnExist: true, force: false }).catch(
          (error: NodeJS.ErrnoException) => {
            throw new AttuneError(`policies export: ${error.message}`);
          },
        );
        console.log(folder);
      }),
    );
}

/** A line every second while a checkpoint comes in. */
function showFetch(): (progress: FetchProgress) => void {
  let told = 0;
  return ({ file, loadedBytes, totalBytes }) => {
    if (Date.now() - told < 1000 && loadedBytes < totalBytes) return;
    told = Date.now();
    console.log(
      `${file}: ${Math.round((100 * loadedBytes) / totalBytes)}% of ${(totalBytes / 2 ** 20).toFixed(1)} MiB in all`,
    );
  };
}
