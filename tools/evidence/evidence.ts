// npm run evidence: checks the objectives analytically on a toy problem, trains with each on real preferences and with
// simulated raters, and writes the results to one HTML page.
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { AttuneError } from '../../shared/error.ts';
import { DEFAULT_CHECKPOINT, writeDefaultCheckpoint } from '../../shared/publish/convert-llama2c.ts';
import { preferenceStudyConfig, raterStudyConfig } from './config.ts';
import { instructConfig } from './instruct/config.ts';
import { runInstructStudy } from './instruct/study.ts';
import { listBestOfSpecs, listPlans, PLAN_NAMES, type PlanName } from './online/config.ts';
import { formatCsv, groupByMethod } from './online/frontier.ts';
import { type OnlineStudy, runBestOfStudy, runOnlineStudy } from './online/study.ts';
import { methodRows } from './online/tables.ts';
import { type PreferenceStudy, runPreferenceStudy } from './preference-study.ts';
import { runRaterStudy } from './rater-study.ts';
import { ResultCache } from './result-cache.ts';

type Options = {
  pairs?: string;
  about: string;
  out?: string;
  keep: string;
  pageOnly?: boolean;
  online?: boolean;
  instruct?: boolean;
  benchCache: string;
  policy?: string;
  learningRate: number;
  plan?: PlanName;
  shard: { part: number; of: number };
  threads: number;
};

const program = new Command('npm run evidence --')
  .description('Compare the training objectives and write an HTML page (about 25 minutes on two idle cores).')
  .option(
    '--pairs <file>',
    'real preferences, in any format that attune preferences import reads; with --instruct several, separated by commas',
  )
  .option('--about <text>', 'description of the preferences for the page: name, origin, licence', '')
  .option(
    '--out <file>',
    'path of the page; default: docs/evidence.html, with --online docs/frontier.html, with --instruct docs/instruct.html',
  )
  .option('--keep <folder>', 'cache of finished runs', '.attune/evidence')
  .option('--online', 'run the whole loop with simulated raters for every objective (hours; resumable)')
  .option('--instruct', 'one round of every objective and of TRL on a real instruct policy (--policy, --pairs)')
  .option('--policy <folder>', 'policy of --online and --instruct, in Hugging Face layout; default: stories15M')
  .option(
    '--bench-cache <folder>',
    'of --instruct: where `npm run bench:train -- --setup` installed TRL',
    '.attune/bench',
  )
  .option('--learning-rate <rate>', 'of --online: a middle one for the policy’s size', Number, 2e-5)
  .addOption(
    new Option('--plan <name>', 'of --online: one of its parts, as a table without the page').choices(PLAN_NAMES),
  )
  .option('--shard <part/of>', 'compute a part of the runs of --online, e.g. 1/2, without the page', parseShard, {
    part: 1,
    of: 1,
  })
  .option('--threads <count>', 'of --online', Number, availableParallelism())
  .option('--page-only', 'render the page from cached runs, without training')
  .action(run);

async function run(options: Options): Promise<void> {
  const { pairs, about, out = 'docs/evidence.html', keep, pageOnly = false } = options;
  const log = (line: string) => console.log(line);
  const cache = new ResultCache(keep, { readOnly: pageOnly });
  if (options.online) return runOnline(cache, options, log);
  if (options.instruct) return runInstruct(cache, options, log);
  log('Simulated raters');
  const raterStudy = await runRaterStudy(cache, raterStudyConfig, log);
  let preferenceStudy: PreferenceStudy | null = null;
  if (pairs) {
    log(`Real preferences: ${path.basename(pairs)}`);
    preferenceStudy = await runPreferenceStudy(cache, pairs, preferenceStudyConfig, log);
  } else log('Skipping real preferences: no --pairs');
  const [{ computeToyResults }, { renderEvidencePage }] = await Promise.all([
    import('./equivalences.ts'),
    import('./page.ts'),
  ]);
  const toyResults = await computeToyResults();
  await mkdir(path.dirname(path.resolve(out)), { recursive: true });
  await writeFile(out, await renderEvidencePage({ toyResults, preferenceStudy, raterStudy, about, date: new Date() }));
  log(`Page: ${path.resolve(out)}`);
}

async function runOnline(cache: ResultCache, options: Options, log: (line: string) => void): Promise<void> {
  const { policy, learningRate, shard, threads, out = 'docs/frontier.html' } = options;
  const checkpoint = policy ?? (await mkdtemp(path.join(tmpdir(), 'attune-stories-')));
  if (!policy) await writeDefaultCheckpoint(checkpoint);
  const plans = listPlans(learningRate).filter(({ name }) => !options.plan || name === options.plan);
  const studies: OnlineStudy[] = [];
  for (const plan of plans) studies.push(await runOnlineStudy(cache, { checkpoint, plan, shard, threads }, log));
  if (options.plan) for (const row of methodRows(groupByMethod(studies[0]!.runs))) log(`  ${row.join(' · ')}`);
  if (options.plan || shard.of > 1) return;
  const bestOf = await runBestOfStudy(cache, checkpoint, listBestOfSpecs(learningRate), threads, log);
  const name = policy ? path.basename(policy) : DEFAULT_CHECKPOINT.name;
  const { renderOnlinePage } = await import('./online/page.ts');
  await mkdir(path.dirname(path.resolve(out)), { recursive: true });
  await writeFile(out, await renderOnlinePage({ policy: name, studies, bestOf, date: new Date() }));
  const csv = out.replace(/(\.html)?$/, '.csv');
  await writeFile(csv, formatCsv(studies));
  log(`Page: ${path.resolve(out)}; every round: ${path.resolve(csv)}`);
}

async function runInstruct(cache: ResultCache, options: Options, log: (line: string) => void): Promise<void> {
  const { policy, pairs, benchCache, threads, out = 'docs/instruct.html' } = options;
  if (!policy || !pairs)
    throw new AttuneError('evidence: --instruct needs --policy (a folder in Hugging Face layout) and --pairs (files)');
  const studied = { checkpoint: policy, pairs: pairs.split(','), benchCache, threads };
  const study = await runInstructStudy(cache, instructConfig, studied, log);
  const { renderInstructPage } = await import('./instruct/page.ts');
  await mkdir(path.dirname(path.resolve(out)), { recursive: true });
  await writeFile(out, await renderInstructPage(study, options.about, new Date()));
  log(`Page: ${path.resolve(out)}`);
}

function parseShard(text: string): { part: number; of: number } {
  const [part, of] = /^(\d+)\/(\d+)$/.exec(text)?.slice(1).map(Number) ?? [];
  if (!part || !of || part > of) throw new InvalidArgumentError('give a part and how many there are, e.g. 1/2');
  return { part, of };
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof AttuneError)) throw error;
  console.error(`evidence: ${error.message.replace(/^evidence: /, '')}`);
  process.exit(1);
}
process.exit(0);
