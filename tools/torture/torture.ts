// npm run torture: breaks a running Attune in every way that its documentation promises to survive, counts what was lost,
// and exits with 1 if anything was. Progress goes to stderr, the table to stdout.

import { Command, InvalidArgumentError } from 'commander';
import { runCrashes } from './crashes.ts';
import { runHostile } from './hostile.ts';
import { runMalformed } from './malformed.ts';
import { Report } from './report.ts';
import { runSurroundings } from './surroundings.ts';
import { runTrainers } from './trainers.ts';

type Options = { quick?: boolean; seed: number; seeds?: number; only: string[] };

const integer = (text: string) => {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new InvalidArgumentError(`${text} is not a positive integer.`);
};

const PARTS: Record<string, { title: string; run(report: Report, options: Options): Promise<void> }> = {
  a: {
    title: 'connections cut at every point of a request, killed processes',
    run: (report, { seed, seeds, quick = false }) =>
      runCrashes(report, { seed, seeds: seeds ?? (quick ? 1 : 3), isQuick: quick }),
  },
  b: {
    title: 'trainers killed at every stage, locks taken away, an operator who promotes and rolls back',
    run: (report, { seed, quick = false }) => runTrainers(report, { seed, isQuick: quick }),
  },
  c: {
    title: 'malformed input: generated requests to every operation, and bytes that are no HTTP',
    run: (report, { seed, quick = false }) =>
      runMalformed(report, { seed, examples: quick ? 10 : 100, isQuick: quick }),
  },
  d: {
    title: 'hostile clients beside a victim with an API key of its own',
    run: (report, { quick = false }) => runHostile(report, { isQuick: quick }),
  },
  e: {
    title: 'read-only Postgres, full disk, shifted clocks, restore drill',
    run: (report) => runSurroundings(report),
  },
};

const program = new Command('torture')
  .description('breaks a running Attune in every way that it promises to survive, and counts what was lost')
  .option('--quick', 'each fault once, in minutes; timings fail only if something hangs')
  .option('--seed <number>', 'seed of all choices; default: the time', integer, Date.now() % 1_000_000)
  .option('--seeds <number>', 'how often part a is repeated, each time with the next seed (3)', integer)
  .option('--only <parts>', 'parts to run, separated by commas', (text) => text.split(','), Object.keys(PARTS))
  .addHelpText(
    'after',
    `
Parts:
${Object.entries(PARTS)
  .map(([name, { title }]) => `  ${name}  ${title}`)
  .join('\n')}

Examples:
  $ npm run torture
  $ npm run torture -- --quick
  $ npm run torture -- --only a,c --seed 7`,
  );

async function main(options: Options): Promise<void> {
  const unknown = options.only.find((name) => !(name in PARTS));
  if (unknown !== undefined) program.error(`error: --only: there is no part ${unknown}; see --help`);
  const report = new Report();
  report.log(`seed ${options.seed}`);
  for (const name of options.only) {
    const part = PARTS[name]!;
    report.log(`part ${name}: ${part.title}`);
    try {
      await part.run(report, options);
    } catch (error) {
      report.fail(`part ${name} ended early: ${(error as Error).stack}`);
    }
  }
  console.log(report.format());
  process.exitCode = report.failures.length > 0 ? 1 : 0;
}

await program.parseAsync();
await main(program.opts<Options>());
