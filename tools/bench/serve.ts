// npm run bench:serve: Attune's engine, as a library and through HTTP, against what people would use instead, at the
// same weights, precision class and threads. Tables go to standard output, progress to standard error.
import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { AttuneError } from '../../shared/error.ts';
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import { checkAgreement } from './agreement.ts';
import { judgeAims, writeAims } from './aims.ts';
import { Cache } from './cache.ts';
import { type CaseResult, type Entry, runCase } from './case.ts';
import { CONTENDERS, type Contender, FURTHER, prepare, whyAbsent } from './contenders.ts';
import { betterOf, type Floor, measureFloor } from './floor.ts';
import { listModels, type Model, openModel } from './models.ts';
import { installPython, QUANTIZING } from './python.ts';
import { LEGEND, writeTable } from './report.ts';
import { endPeers } from './run-peer.ts';

const AIMED_AT = 'smollm2-135m-random';

const words = (text: string) => text.split(',').filter(Boolean);
const numbers = (text: string) =>
  words(text).map((word) => {
    const number = Number(word);
    if (Number.isInteger(number) && number > 0) return number;
    throw new InvalidArgumentError(`${word} is no whole number above 0.`);
  });
const number = (text: string) => numbers(text)[0]!;

const program = new Command('bench:serve')
  .description('measures serving speed against transformers.js and llama.cpp; figures depend on a quiet machine')
  .option('--json <file>', 'write everything measured there too')
  .option('--quick', 'one round, 1 and 16 streams, prompts of 32: minutes instead of an hour or two')
  .option('--models <names>', `which of ${listModels(process.env).join(', ')}`, words)
  .option('--model <folder>', 'another one, in Hugging Face layout', (folder, all: string[]) => [...all, folder], [])
  .option('--peers <names>', 'which peers, by family or by name', words)
  .option('--streams <numbers>', 'concurrent generations (1,4,8,16)', numbers)
  .option('--prompts <numbers>', 'tokens of a prompt (32,256)', numbers)
  .option('--tokens <number>', 'tokens of a generation', number, 64)
  .option('--rounds <number>', 'how often each case is run (3)', number)
  .option('--threads <number>', 'threads of every peer', number, availableParallelism())
  .option('--cache <folder>', 'where models and packages are kept between runs', '.attune/bench')
  .option('--setup', 'install the Python packages that make the peer transformers:q8, and end')
  .addHelpText(
    'after',
    `
Peers: ${[...CONTENDERS, ...FURTHER].map(({ name }) => name).join(', ')}
TINYLLAMAS_260K=<folder> adds the real model tinyllamas-260K, which is in no package.

Examples:
  $ npm run bench:serve -- --setup
  $ npm run bench:serve -- --quick
  $ npm run bench:serve -- --models stories15M --peers attune,llama:Q8_0 --json result.json`,
  );

/** What is being made is finished first, because it may have a Postgres running. */
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    stop.abort(new AttuneError(`stopped (${signal})`));
    endPeers();
  });
}

type Options = {
  json?: string;
  quick?: boolean;
  models?: string[];
  model: string[];
  peers?: string[];
  streams?: number[];
  prompts?: number[];
  tokens: number;
  rounds?: number;
  threads: number;
  cache: string;
  setup?: boolean;
};

const say = (line: string) => console.error(`bench: ${line}`);

async function main(options: Options): Promise<void> {
  if (process.platform !== 'linux') throw new AttuneError('bench:serve reads /proc and so runs on Linux only');
  const cache = new Cache(options.cache, say);
  say(`models and packages are kept in ${cache.folder}`);
  if (options.setup) return installPython(cache, QUANTIZING);
  const contenders = chooseContenders(options.peers ?? [], cache);
  const rounds = options.rounds ?? (options.quick ? 1 : 3);
  const { threads, tokens } = options;
  const names = options.models ?? (options.model.length > 0 ? [] : listModels(process.env));

  say('measuring the floor');
  let floor = await measureFloor(threads);
  console.log(`${describeMachine(threads, floor)}\n\n${LEGEND}\n`);
  const report: object[] = [];
  for (const name of [...names, ...options.model]) {
    const model = await openModel(cache, name, process.env);
    const agreement = name === 'stories15M' ? await compare(cache, model, threads) : null;
    const architecture = await readArchitecture(model.folder);
    const entries: Entry[] = [];
    for (const contender of contenders) {
      stop.signal.throwIfAborted();
      entries.push({ contender, source: await prepare(contender, cache, model) });
    }
    const cases: CaseResult[] = [];
    for (const promptLength of options.prompts ?? (options.quick ? [32] : [32, 256])) {
      for (const streams of options.streams ?? (options.quick ? [1, 16] : [1, 4, 8, 16])) {
        floor = betterOf(floor, await measureFloor(threads));
        const work = { streams, promptLength, tokens };
        const result = await runCase(work, entries, architecture, floor, { threads, rounds, stop: stop.signal }, say);
        cases.push(result);
        if (result.results.some(({ failures }) => failures.length > 0)) process.exitCode = 1;
        console.log(`\n${describeCase(model, result, rounds)}\n${writeTable(result)}`);
      }
    }
    const aims = name === AIMED_AT ? judgeAims(cases) : [];
    if (aims.length > 0) console.log(`\nAims at ${AIMED_AT}\n${writeAims(aims)}`);
    report.push({ model: model.name, architecture, agreement, cases, aims });
  }
  if (!options.json) return;
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, threads, floor };
  await writeFile(options.json, `${JSON.stringify({ machine, rounds, models: report }, null, 2)}\n`);
  say(`written to ${options.json}`);
}

function chooseContenders(names: string[], cache: Cache): Contender[] {
  const known = [...CONTENDERS, ...FURTHER];
  const isNamed = (contender: Contender) => names.includes(contender.name);
  const isOfFamily = (contender: Contender) => names.length === 0 || names.includes(contender.program);
  for (const name of names) {
    if (known.some((contender) => contender.name === name || contender.program === name)) continue;
    throw new AttuneError(`--peers: there is no ${name}; --help lists those there are`);
  }
  return known
    .filter((contender) => isNamed(contender) || (isOfFamily(contender) && !FURTHER.includes(contender)))
    .filter((contender) => {
      const why = whyAbsent(contender, cache);
      if (why) console.log(`\n*** ${contender.name} is NOT measured: ${why} ***\n`);
      return !why;
    });
}

async function compare(cache: Cache, model: Model, threads: number) {
  say('comparing what the float32 peers say');
  const agreement = await checkAgreement(cache, model, threads);
  const { peers, tokens, differing } = agreement;
  if (differing.length > 0)
    throw new AttuneError(`at float32 not all peers say the same, so they are no peers:\n${differing.join('\n')}`);
  console.log(`The same ${tokens} greedy tokens at float32: ${peers.join(', ')}`);
  return agreement;
}

function describeMachine(threads: number, floor: Floor): string {
  const giga = (value: number) => (value / 1e9).toFixed(0);
  return `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, ${threads} threads for every peer
Floor: reads ${giga(floor.read)} GB/s, multiplies ${giga(floor.float32)} GFLOP/s in float32 and ${giga(floor.int8)} Gop/s in int8`;
}

function describeCase({ name }: Model, { streams, promptLength, tokens }: CaseResult, rounds: number): string {
  return `${name} · ${streams} × (${promptLength} + ${tokens}) tokens · ${rounds} round${rounds > 1 ? 's' : ''}`;
}

try {
  await program.parseAsync();
  await main(program.opts<Options>());
} catch (error) {
  console.error(error instanceof AttuneError ? `bench: ${error.message}` : error);
  process.exitCode = stop.signal.aborted ? 130 : 1;
}
