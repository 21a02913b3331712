// npm run bench:train: training speed of Attune against eager PyTorch (steps) and Hugging Face's TRL (rounds) with the same
// model, pairs, loss, float32 and threads. Tables go to stdout, progress to stderr.
import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { AttuneError } from '../../shared/error.ts';
import { Cache } from './cache.ts';
import { openModel } from './models.ts';
import { findPython, installPython, TRAIN_ENV } from './python.ts';
import { TRAIN_LEGEND } from './report.ts';
import { stopTrainingPeers } from './run-training-peer.ts';
import { benchmarkModel, PARTS } from './train-benchmark.ts';
import { TRAIN_PEERS } from './train-peers.ts';

/** The larger model has fewer pairs per step, and its round is measured only on request. */
const MODELS: Record<string, { pairs: number; parts: readonly string[] }> = {
  stories15M: { pairs: 8, parts: PARTS },
  'smollm2-135m-random': { pairs: 4, parts: ['peak', 'steps'] },
};
const OTHER_MODEL = { pairs: 4, parts: PARTS };

const namesOf = (known: readonly string[]) => (text: string) => {
  const names = text.split(',').filter(Boolean);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown) throw new InvalidArgumentError(`Unknown name ${unknown}; use ${known.join(', ')}.`);
  return names;
};
const number = (text: string) => {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`${text} is not a positive integer.`);
};

const program = new Command('bench:train')
  .description('measures training speed against PyTorch and TRL; run it on an idle machine')
  .option('--json <file>', 'also write all results as JSON')
  .option('--models <names>', `models to measure: ${Object.keys(MODELS).join(', ')}`, namesOf(Object.keys(MODELS)))
  .option(
    '--model <folder>',
    'another model, in Hugging Face layout; repeatable',
    (folder, all: string[]) => [...all, folder],
    [],
  )
  .option(
    '--parts <names>',
    `parts to measure: ${PARTS.join(', ')} (all, except the round of the larger model)`,
    namesOf(PARTS),
  )
  .option('--peers <names>', `peers to measure: ${TRAIN_PEERS.join(', ')}`, namesOf(TRAIN_PEERS), TRAIN_PEERS)
  .option('--pairs <number>', 'pairs per step (8; 4 for the larger model)', number)
  .option('--round-pairs <number>', 'pairs per round, of which a quarter is held out', number, 64)
  .option('--steps <number>', 'steps per measurement, after one warm-up step', number, 2)
  .option('--rounds <number>', 'measurements of each peer', number, 3)
  .option('--threads <number>', 'threads of every peer', number, availableParallelism())
  .option('--cache <folder>', 'folder in which models and Python environments are kept between runs', '.attune/bench')
  .option('--setup', 'install PyTorch and TRL, then exit')
  .addHelpText(
    'after',
    `
Examples:
  $ npm run bench:train -- --setup
  $ npm run bench:train
  $ npm run bench:train -- --models stories15M --parts steps --peers attune,torch:lean --rounds 5`,
  );

type Options = {
  json?: string;
  models?: string[];
  model: string[];
  parts?: string[];
  peers: string[];
  pairs?: number;
  roundPairs: number;
  steps: number;
  rounds: number;
  threads: number;
  cache: string;
  setup?: boolean;
};

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    stop.abort(new AttuneError(`stopped (${signal})`));
    stopTrainingPeers();
  });
}

const log = (line: string) => console.error(`bench: ${line}`);

async function main(options: Options): Promise<void> {
  if (process.platform !== 'linux') throw new AttuneError('bench:train requires Linux, because it reads /proc');
  const cache = new Cache(options.cache, log);
  log(`cache folder: ${cache.folder}`);
  if (options.setup) return installPython(cache, TRAIN_ENV);
  const python = findPython(cache, TRAIN_ENV);
  if (!python) {
    console.log('\n*** PyTorch and TRL are NOT measured: `npm run bench:train -- --setup` installs them ***\n');
  }
  const { threads } = options;
  console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, ${threads} threads for every peer`);
  console.log(`${TRAIN_LEGEND}\n`);
  const names = options.models ?? (options.model.length > 0 ? [] : Object.keys(MODELS));
  const models = [];
  for (const name of [...names, ...options.model]) {
    const defaults = MODELS[name] ?? OTHER_MODEL;
    const model = await openModel(cache, name, {});
    const { parts = defaults.parts, pairs = defaults.pairs } = options;
    models.push(await benchmarkModel(model, { ...options, parts, pairs, python, stop: stop.signal, log }));
  }
  if (!options.json) return;
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, threads };
  await writeFile(options.json, `${JSON.stringify({ machine, models }, null, 2)}\n`);
  log(`wrote ${options.json}`);
}

try {
  await program.parseAsync();
  await main(program.opts<Options>());
} catch (error) {
  console.error(error instanceof AttuneError ? `bench: ${error.message}` : error);
  process.exitCode = stop.signal.aborted ? 130 : 1;
}
