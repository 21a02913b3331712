// attune policies: lists, imports, exports, promotes and rolls back policies.

import { cp } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { desc, eq } from 'drizzle-orm';
import { validateTokenizerFiles } from '../edge/engine/tokenizer-thread.ts';
import { COMMAND, recordAudit } from '../shared/access/audit.ts';
import { policies } from '../shared/database/schema.ts';
import { AttuneError } from '../shared/error.ts';
import { FAMILY_NAMES } from '../shared/model/architecture.ts';
import type { Manifest } from '../shared/package/manifest.ts';
import { PRECISION_NAMES, type PrecisionName } from '../shared/precision-name.ts';
import { changePrecision, importPolicy } from '../shared/publish/publish.ts';
import { type LineageStep, readLineage } from '../shared/rounds/policy-lineage.ts';
import { openRemoteStore } from '../shared/store/configured-store.ts';
import { uploadPackage } from '../shared/store/copy-package.ts';
import {
  activatePolicy,
  findRollbackTarget,
  getActivePolicyId,
  getPolicy,
  readServing,
  rollBackPolicy,
} from '../shared/store/registry.ts';
import { assertAvailable } from './assert-available.ts';
import { withContext } from './context.ts';
import { withSource } from './import-source.ts';
import { createPublishLogger } from './progress.ts';

/** Policies to a query. */
const LINEAGE_PAGE = 100;

export function addPolicies(program: Command): void {
  const group = program
    .command('policies')
    .description('list, import, show, promote, roll back, send and export policies, and print what one learned from')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune policies list\n  $ npx attune policies import ./my-checkpoint --promote\n  $ npx attune policies import hf:HuggingFaceTB/SmolLM2-135M\n  $ npx attune policies rollback\n',
    );

  group
    .command('list')
    .description('list all policies, newest first; * marks the active one, and ~ the canary')
    .action(() =>
      withContext(async ({ db }) => {
        const { activeId, canary } = await readServing(db);
        const mark = (id: string) => (id === activeId ? '*' : id === canary?.policyId ? '~' : ' ');
        const rows = await db.select().from(policies).where(eq(policies.kind, 'policy')).orderBy(desc(policies.id));
        for (const row of rows)
          console.log(
            `${mark(row.id)} ${row.id}  ${row.created_at.toISOString()}  ${row.name}${row.parent_id ? `  from ${row.parent_id}` : ''}`,
          );
        if (rows.length === 0) console.log('no policies yet; `attune start` creates the default one');
      }),
    );

  group
    .command('import')
    .argument('<source>', 'folder of a Hugging Face checkpoint, file.gguf, or hf:OWNER/NAME')
    .option('--name <name>', 'name of the policy; default: that of the folder, file or repository')
    .option('--promote', 'make it the active policy')
    .addOption(precisionOption('precision of the serving graph, even if it changes outputs; default: PRECISION'))
    .description(`import a checkpoint of ${FAMILY_NAMES.join(', ')}, or a GGUF file of one`)
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune policies import ./SmolLM2-135M --promote\n  $ npx attune policies import SmolLM2-135M-Instruct.Q8_0.gguf\n  $ HF_TOKEN=… npx attune policies import hf:OWNER/NAME\n',
    )
    .action((source: string, options: { name?: string; promote?: boolean; precision?: PrecisionName }) =>
      withContext(async ({ db }, localStore, { settings }) => {
        const precision = options.precision ?? settings.PRECISION;
        const isPrecisionForced = options.precision !== undefined;
        const { onProgress, stop } = createPublishLogger();
        const id = await withSource(source, localStore, onProgress, async ({ folder, name, ...opened }) => {
          await validateTokenizerFiles(folder);
          const how = { ...opened, precision, isPrecisionForced, onProgress };
          return importPolicy(db, localStore, folder, options.name ?? name, how);
        }).finally(stop);
        if (options.promote) await activatePolicy(db, id, 'imported', { watchHours: settings.WATCH_HOURS });
        console.log(`${id}${options.promote ? ' is active' : ''}`);
        console.log(describeAccuracy((await getPolicy(db, id)).manifest as Manifest));
      }),
    );

  group
    .command('show')
    .argument('<id>', 'id of the policy')
    .description('print a policy’s manifest')
    .action((id: string) =>
      withContext(async ({ db }) => console.log(JSON.stringify((await getPolicy(db, id)).manifest, null, 2))),
    );

  group
    .command('lineage')
    .argument('[id]', 'id of the policy; default: the active one')
    .description('print what a policy learned from: its ancestors, each with its pairs by source and rater')
    .action((id: string | undefined) =>
      withContext(async ({ db }) => {
        let next = id === undefined ? await getActivePolicyId(db) : (await getPolicy(db, id)).id;
        if (next === null) throw new AttuneError('policies lineage: there is no active policy; give the id of one');
        while (next !== null) {
          const page: Awaited<ReturnType<typeof readLineage>> = await readLineage(db, next, LINEAGE_PAGE);
          for (const step of page.steps) console.log(describeStep(step));
          next = page.next;
        }
      }),
    );

  group
    .command('promote')
    .argument('<id>', 'id of the policy')
    .description('make a policy the active one; running servers swap to it without a restart')
    .action((id: string) =>
      withContext(async ({ db }, localStore, { settings }) => {
        await getPolicy(db, id);
        await assertAvailable(localStore, settings, id);
        await db.transaction(async (transaction) => {
          await activatePolicy(transaction, id, 'promoted', { watchHours: settings.WATCH_HOURS });
          await recordAudit(transaction, { actor: COMMAND, action: 'policy.promoted', target: id });
        });
        console.log(`${id} is active`);
      }),
    );

  group
    .command('rollback')
    .description('make the previous policy the active one again')
    .option('--from <policy>', 'the policy to roll back from: if another one is active by now, nothing is changed')
    .action(({ from }: { from?: string }) =>
      withContext(async ({ db }, localStore, { settings }) => {
        const target = await findRollbackTarget(db, from);
        const id = target.previous.policy_id;
        await assertAvailable(localStore, settings, id);
        await db.transaction(async (transaction) => {
          await rollBackPolicy(transaction, target);
          await recordAudit(transaction, { actor: COMMAND, action: 'policy.rolled_back', target: id });
        });
        console.log(`${id} is active`);
      }),
    );

  group
    .command('send')
    .argument('<id...>', 'ids of the policies')
    .description('copy policies from this machine to POLICY_STORE, if they were published before it was set')
    .action((ids: string[]) =>
      withContext(async (_connection, localStore, { settings }) => {
        const store = await openRemoteStore(settings);
        if (!store) throw new AttuneError('policies send: POLICY_STORE is not set; set it to s3://bucket/prefix');
        for (const id of ids) {
          const folder = await localStore.getFolder(id);
          if (!(await store.manifest(id)))
            await uploadPackage(store, folder).catch(async (error) => {
              await store.discard(id).catch(() => {});
              throw error;
            });
          console.log(`${id} is in ${store.location}`);
        }
      }),
    );

  group
    .command('export')
    .argument('<id>', 'id of the policy')
    .argument('<folder>', 'folder to create')
    .addOption(
      precisionOption('rebuild the serving graph at this precision; the copy becomes a new policy with its own id'),
    )
    .description('copy a policy’s package to a folder that transformers.js and Hugging Face libraries load')
    .addHelpText('after', '\nExamples:\n  $ npx attune policies export pol_… ./copy --precision int4\n')
    .action((id: string, folder: string, options: { precision?: PrecisionName }) =>
      withContext(async ({ db }, localStore) => {
        await getPolicy(db, id);
        await cp(await localStore.getFolder(id), folder, { recursive: true, errorOnExist: true, force: false }).catch(
          (error: NodeJS.ErrnoException) => {
            throw new AttuneError(`policies export: ${error.message}`);
          },
        );
        if (options.precision) {
          const { onProgress, stop } = createPublishLogger();
          const manifest = await changePrecision(folder, options.precision, onProgress).finally(stop);
          console.log(describeAccuracy(manifest));
        }
        console.log(folder);
      }),
    );
}

/** `pol_…  name  round_…: 40 pairs (comparison 30, import 10), 20 replayed, 12 held out; raters: ann 25, bob 15` */
function describeStep({ policy, name, round, pairs, sources, raters, raterCount }: LineageStep): string {
  if (round === null) return `${policy}  ${name}  imported`;
  const list = (counts: [string, number][]) => counts.map(([label, count]) => `${label} ${count}`).join(', ');
  const others = raterCount > raters.length ? ` and ${raterCount - raters.length} more` : '';
  return (
    `${policy}  ${name}  ${round}: ${pairs.learned} pairs, ${pairs.replayed} replayed (${list(Object.entries(sources))}), ` +
    `${pairs.heldOut} held out; raters: ${list(raters.map(({ rater, pairs }) => [rater, pairs]))}${others}`
  );
}

function precisionOption(description: string): Option {
  return new Option('--precision <precision>', description).choices(PRECISION_NAMES);
}

/** served at row8: perplexity 2.61 on its own text (float32: 2.59), 97.8% of the greedy tokens are float32's, KL 0.0055 */
function describeAccuracy({ serving: { precision, accuracy } }: Manifest): string {
  const report = accuracy[precision];
  if (!report || precision === 'fp32') return `served at ${precision}`;
  return (
    `served at ${precision}: perplexity ${report.perplexity.toPrecision(3)} on its own text ` +
    `(float32: ${accuracy.fp32?.perplexity.toPrecision(3)}), ${(100 * report.greedy_agreement).toFixed(1)}% of the ` +
    `greedy tokens are float32's, KL ${report.kl.toPrecision(2)}`
  );
}
