// npm run bench:serve: serving speed and accuracy of Attune, as a library and over HTTP, against transformers.js and
// llama.cpp with the same weights, precision class and threads. Tables go to stdout, progress to stderr.
import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { AttuneError } from '../../shared/error.ts';
import { readArchitecture } from '../../shared/model/checkpoint.ts';
import { Cache } from './cache.ts';
import { compareOutputs } from './compare-outputs.ts';
import { listModels, type Model, openModel } from './models.ts';
import { findAccuracy } from './peer-accuracy.ts';
import { installPython, QUANTIZE_ENV } from './python.ts';
import { ACCURACY_LEGEND, formatAccuracy, formatCase, SERVING_LEGEND } from './report.ts';
import { maxRoofline, measureRoofline, type Roofline } from './roofline.ts';
import { type CaseResult, type PreparedPeer, runCase } from './run-case.ts';
import { stopServingPeers } from './run-serving-peer.ts';
import { listCases } from './serving-cases.ts';
import { OPTIONAL_PEERS, preparePeer, SERVING_PEERS, type ServingPeer, unavailableReason } from './serving-peers.ts';
import { evaluateTargets, formatTargets } from './serving-targets.ts';

const TARGET_MODEL = 'smollm2-135m-random';

const words = (text: string) => text.split(',').filter(Boolean);
const numbers = (text: string) =>
  words(text).map((word) => {
    const number = Number(word);
    if (Number.isInteger(number) && number > 0) return number;
    throw new InvalidArgumentError(`${word} is not a positive integer.`);
  });
const number = (text: string) => numbers(text)[0]!;

const program = new Command('bench:serve')
  .description('measures serving speed against transformers.js and llama.cpp; run it on an idle machine')
  .option('--json <file>', 'also write all results as JSON')
  .option('--quick', 'one round, 1 and 16 streams, prompts of 32 tokens: minutes instead of one or two hours')
  .option('--models <names>', `models to measure: ${listModels(process.env).join(', ')}`, words)
  .option(
    '--model <folder>',
    'another model, in Hugging Face layout; repeatable',
    (folder, all: string[]) => [...all, folder],
    [],
  )
  .option('--peers <names>', 'peers to measure, by family or name', words)
  .option('--streams <numbers>', 'concurrent generations (1,4,8,16)', numbers)
  .option('--prompts <numbers>', 'tokens per prompt (32,256, and 1024 alone); 2048,8192 are long contexts', numbers)
  .option('--tokens <number>', 'tokens per generation', number, 64)
  .option('--rounds <number>', 'runs of each case (3)', number)
  .option('--threads <number>', 'threads of every peer', number, availableParallelism())
  .option('--cache <folder>', 'folder in which models and packages are kept between runs', '.attune/bench')
  .option('--accuracy', 'measure only accuracy: minutes, on a busy machine too')
  .option('--setup', 'install the Python packages for the peer transformers:q8, then exit')
  .addHelpText(
    'after',
    `
Peers: ${[...SERVING_PEERS, ...OPTIONAL_PEERS].map(({ name }) => name).join(', ')}
TINYLLAMAS_260K=<folder> adds the model tinyllamas-260K, which is in no package.

Examples:
  $ npm run bench:serve -- --setup
  $ npm run bench:serve -- --quick
  $ npm run bench:serve -- --models stories15M --peers attune,llama:Q8_0 --json result.json`,
  );

/** An artifact being built is completed first, because Postgres may be running for it. */
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    stop.abort(new AttuneError(`stopped (${signal})`));
    stopServingPeers();
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
  accuracy?: boolean;
  setup?: boolean;
};

const log = (line: string) => console.error(`bench: ${line}`);

async function main(options: Options): Promise<void> {
  if (process.platform !== 'linux') throw new AttuneError('bench:serve requires Linux, because it reads /proc');
  const cache = new Cache(options.cache, log);
  log(`cache folder: ${cache.folder}`);
  if (options.setup) return installPython(cache, QUANTIZE_ENV);
  const peers = selectPeers(options.peers ?? [], cache);
  const rounds = options.rounds ?? (options.quick ? 1 : 3);
  const { threads } = options;
  const names = options.models ?? (options.model.length > 0 ? [] : listModels(process.env));

  log('measuring the roofline');
  let roofline = await measureRoofline(threads);
  console.log(`${describeMachine(threads, roofline)}\n\n${ACCURACY_LEGEND}\n${SERVING_LEGEND}\n`);
  const report: object[] = [];
  for (const name of [...names, ...options.model]) {
    const model = await openModel(cache, name, process.env);
    const comparison = name === 'stories15M' ? await checkOutputs(cache, model, threads) : null;
    const architecture = await readArchitecture(model.folder);
    const prepared = await preparePeers(peers, cache, model);
    const accuracy = prepared.map(({ peer, accuracy }) => ({ peer: peer.name, accuracy }));
    console.log(`\n${model.name} · accuracy\n${formatAccuracy(accuracy)}`);
    const cases: CaseResult[] = [];
    for (const benchCase of options.accuracy ? [] : listCases(options, architecture.contextLength)) {
      roofline = maxRoofline(roofline, await measureRoofline(threads));
      const settings = { threads, rounds, stop: stop.signal };
      const result = await runCase(benchCase, prepared, architecture, roofline, settings, log);
      cases.push(result);
      if (result.results.some(({ failures }) => failures.length > 0)) process.exitCode = 1;
      console.log(`\n${describeCase(model, result, rounds)}\n${formatCase(result)}`);
    }
    const targets = name === TARGET_MODEL ? evaluateTargets(cases) : [];
    if (targets.length > 0) console.log(`\nTargets for ${TARGET_MODEL}\n${formatTargets(targets)}`);
    report.push({ model: model.name, architecture, comparison, accuracy, cases, targets });
  }
  if (!options.json) return;
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, threads, roofline };
  await writeFile(options.json, `${JSON.stringify({ machine, rounds, models: report }, null, 2)}\n`);
  log(`wrote ${options.json}`);
}

/** Builds what each peer loads, and measures its accuracy. */
async function preparePeers(peers: ServingPeer[], cache: Cache, model: Model): Promise<PreparedPeer[]> {
  const prepared: PreparedPeer[] = [];
  for (const peer of peers) {
    stop.signal.throwIfAborted();
    const source = await preparePeer(peer, cache, model);
    const accuracy = await findAccuracy(cache, model, peer).catch((error: Error) => {
      stop.signal.throwIfAborted();
      log(`${peer.name}: its accuracy could not be measured: ${error.message}`);
      process.exitCode = 1;
      return null;
    });
    prepared.push({ peer, source, accuracy });
  }
  return prepared;
}

function selectPeers(names: string[], cache: Cache): ServingPeer[] {
  const known = [...SERVING_PEERS, ...OPTIONAL_PEERS];
  const isNamed = (peer: ServingPeer) => names.includes(peer.name);
  const isFamilyNamed = (peer: ServingPeer) => names.length === 0 || names.includes(peer.program);
  for (const name of names) {
    if (known.some((peer) => peer.name === name || peer.program === name)) continue;
    throw new AttuneError(`--peers: unknown peer ${name}; see --help for the list`);
  }
  return known
    .filter((peer) => isNamed(peer) || (isFamilyNamed(peer) && !OPTIONAL_PEERS.includes(peer)))
    .filter((peer) => {
      const reason = unavailableReason(peer, cache);
      if (reason) console.log(`\n*** ${peer.name} is NOT measured: ${reason} ***\n`);
      return !reason;
    });
}

async function checkOutputs(cache: Cache, model: Model, threads: number) {
  log('comparing the outputs of the float32 peers');
  const comparison = await compareOutputs(cache, model, threads);
  const { peers, tokens, differing } = comparison;
  if (differing.length > 0)
    throw new AttuneError(
      `the float32 peers generate different tokens, so they are not comparable:\n${differing.join('\n')}`,
    );
  console.log(`Identical ${tokens} greedy tokens at float32: ${peers.join(', ')}`);
  return comparison;
}

function describeMachine(threads: number, roofline: Roofline): string {
  const giga = (value: number) => (value / 1e9).toFixed(0);
  return `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, ${threads} threads for every peer
Roofline: ${giga(roofline.readBytesPerSecond)} GB/s memory reads, ${giga(roofline.float32)} GFLOP/s float32, ${giga(roofline.int8)} Gop/s int8`;
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
