// npm run evidence: the mathematics of the objectives in a world of three answers, their behaviour on real preferences,
// and how near each comes to what raters of a known taste choose. Writes one page that holds all of it.
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import { AttuneError } from '../../shared/error.ts';
import { Archive } from './archive.ts';
import { type Study, studyPairs } from './compare.ts';
import { studyPlan, tastePlan } from './plan.ts';
import { studyTaste } from './taste.ts';

type Options = { pairs?: string; about: string; out: string; keep: string; pageOnly?: boolean };

const program = new Command('npm run evidence --')
  .description('Shows what each objective does, and writes a page about it (about 25 minutes on two idle cores).')
  .option('--pairs <file>', 'real preferences, in any shape that attune preferences import reads')
  .option('--about <text>', 'what the page says of them: name, origin, licence', '')
  .option('--out <file>', 'where the page goes', 'docs/evidence.html')
  .option('--keep <folder>', 'where finished runs are kept', '.attune/evidence')
  .option('--page-only', 'make the page again from finished runs')
  .action(run);

async function run({ pairs, about, out, keep, pageOnly = false }: Options): Promise<void> {
  const log = (line: string) => console.log(line);
  const archive = new Archive(keep, { canWork: !pageOnly });
  log('Raters of a known taste');
  const taste = await studyTaste(archive, tastePlan, log);
  let study: Study | null = null;
  if (pairs) {
    log(`Real preferences: ${path.basename(pairs)}`);
    study = await studyPairs(archive, pairs, studyPlan, log);
  } else log('No --pairs, so nothing is said about real preferences');
  const [{ showWorld }, { writePage }] = await Promise.all([import('./equivalences.ts'), import('./page.ts')]);
  await mkdir(path.dirname(path.resolve(out)), { recursive: true });
  await writeFile(out, writePage({ world: await showWorld(), study, taste, about, date: new Date() }));
  log(`Page: ${path.resolve(out)}`);
}

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof AttuneError)) throw error;
  console.error(`evidence: ${error.message.replace(/^evidence: /, '')}`);
  process.exit(1);
}
process.exit(0);
