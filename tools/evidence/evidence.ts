// npm run evidence: checks the objectives analytically on a toy problem, trains with each on real preferences and with
// simulated raters, and writes the results to one HTML page.
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import { AttuneError } from '../../shared/error.ts';
import { preferenceStudyConfig, raterStudyConfig } from './config.ts';
import { type PreferenceStudy, runPreferenceStudy } from './preference-study.ts';
import { runRaterStudy } from './rater-study.ts';
import { ResultCache } from './result-cache.ts';

type Options = { pairs?: string; about: string; out: string; keep: string; pageOnly?: boolean };

const program = new Command('npm run evidence --')
  .description('Compare the training objectives and write an HTML page (about 25 minutes on two idle cores).')
  .option('--pairs <file>', 'real preferences, in any format that attune preferences import reads')
  .option('--about <text>', 'description of the preferences for the page: name, origin, licence', '')
  .option('--out <file>', 'path of the page', 'docs/evidence.html')
  .option('--keep <folder>', 'cache of finished runs', '.attune/evidence')
  .option('--page-only', 'render the page from cached runs, without training')
  .action(run);

async function run({ pairs, about, out, keep, pageOnly = false }: Options): Promise<void> {
  const log = (line: string) => console.log(line);
  const cache = new ResultCache(keep, { readOnly: pageOnly });
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

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof AttuneError)) throw error;
  console.error(`evidence: ${error.message.replace(/^evidence: /, '')}`);
  process.exit(1);
}
process.exit(0);
