// npm run bench:data: whether the time of what is asked most often depends on how many preferences are stored. Fills two
// throw-away databases and prints one table; progress goes to stderr.

import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { AttuneError } from '../../shared/error.ts';
import { MIN_ROWS } from './data-fill.ts';
import { EXPORT, measureOperations, type Timing, VOTES } from './data-measure.ts';
import { type DataSystem, withFilledDatabase } from './data-system.ts';
import { alignColumns } from './report.ts';

const rows = (text: string) => {
  const number = Number(text);
  if (Number.isInteger(number) && number >= MIN_ROWS && number % 1000 === 0) return number;
  throw new InvalidArgumentError(`Give a multiple of 1000 from ${MIN_ROWS}, for example 1e6.`);
};

const program = new Command('bench:data')
  .description('measures how the time of database operations grows with the number of preferences')
  .option('--rows <number>', 'preferences in the large database', rows, 1e6)
  .option('--base <number>', 'preferences in the small database', rows, 1e4)
  .option('--json <file>', 'also write the results as JSON')
  .addHelpText(
    'after',
    `
The databases are filled in the system's folder for temporary files (TMPDIR), 5 GB for a million preferences.

Examples:
  $ npm run bench:data -- --rows 1e6
  $ npm run bench:data -- --rows 1e5 --json result.json`,
  );

type Options = { rows: number; base: number; json?: string };

const log = (line: string) => console.error(`bench: ${line}`);

async function main({ rows, base, json }: Options): Promise<void> {
  const open = (size: number, use: (system: DataSystem) => Promise<Timing[]>) =>
    withFilledDatabase({ rows: size, votes: VOTES }, log, use);
  const timings = await open(base, (small) => open(rows, (large) => measureOperations([small, large], log)));
  console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores; medians in milliseconds\n`);
  console.log(formatTimings(timings, [base, rows]));
  if (json) await writeFile(json, `${JSON.stringify({ base, rows, timings }, null, 2)}\n`);
}

function formatTimings(timings: Timing[], sizes: number[]): string {
  const header = ['', ...sizes.map((size) => `${size.toLocaleString('en')} rows`), 'ratio'];
  const lines = timings.map(({ name, medians }) => {
    const cells = medians.map((ms) => ms.toFixed(name === EXPORT ? 4 : 2));
    return [name, ...cells, (medians[1]! / medians[0]!).toFixed(2)];
  });
  return alignColumns([header, ...lines]);
}

try {
  await program.parseAsync();
  await main(program.opts<Options>());
} catch (error) {
  console.error(error instanceof AttuneError ? `bench: ${error.message}` : error);
  process.exitCode = 1;
}
