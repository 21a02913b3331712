// npm run bench:train: training by Attune against PyTorch eager, step by step, and against Hugging Face's TRL, round by
// round: same model, pairs, loss, float32 and threads. Tables go to standard output, progress to standard error.
import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { AttuneError } from '../../shared/error.ts';
import { Cache } from './cache.ts';
import { openModel } from './models.ts';
import { findPython, installPython, TRAINING } from './python.ts';
import { measureModel, PARTS } from './train-model.ts';
import { TRAIN_PEERS } from './train-peers.ts';
import { endPrograms } from './train-program.ts';
import { TRAIN_LEGEND } from './train-report.ts';

/** Where a step takes long it has fewer pairs, and no whole round is measured unless it is asked for. */
const MODELS: Record<string, { pairs: number; parts: readonly string[] }> = {
  stories15M: { pairs: 8, parts: PARTS },
  'smollm2-135m-random': { pairs: 4, parts: ['ceiling', 'steps'] },
};
const ANOTHER = { pairs: 4, parts: PARTS };

const words = (known: readonly string[]) => (text: string) => {
  const asked = text.split(',').filter(Boolean);
  const unknown = asked.find((word) => !known.includes(word));
  if (unknown) throw new InvalidArgumentError(`There is no ${unknown}; known are ${known.join(', ')}.`);
  return asked;
};
const number = (text: string) => {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`${text} is no whole number above 0.`);
};

const program = new Command('bench:train')
  .description('measures training speed against PyTorch and TRL; figures depend on a quiet machine')
  .option('--json <file>', 'write everything measured there too')
  .option('--models <names>', `which of ${Object.keys(MODELS).join(', ')}`, words(Object.keys(MODELS)))
  .option('--model <folder>', 'another one, in Hugging Face layout', (folder, all: string[]) => [...all, folder], [])
  .option('--parts <names>', `which of ${PARTS.join(', ')} (all; no round of the larger model)`, words(PARTS))
  .option('--peers <names>', `which of ${TRAIN_PEERS.join(', ')}`, words(TRAIN_PEERS), TRAIN_PEERS)
  .option('--pairs <number>', 'pairs of a step (8, and 4 of the larger model)', number)
  .option('--round-pairs <number>', 'pairs of a round, a quarter of them held out', number, 64)
  .option('--steps <number>', 'steps of a measurement, after one to warm up', number, 2)
  .option('--rounds <number>', 'how often steps are measured, peers in turn', number, 3)
  .option('--threads <number>', 'threads of every peer', number, availableParallelism())
  .option('--cache <folder>', 'where models and Pythons are kept between runs', '.attune/bench')
  .option('--setup', 'install the Python packages that PyTorch and TRL are measured with, and end')
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
    endPrograms();
  });
}

const say = (line: string) => console.error(`bench: ${line}`);

async function main(options: Options): Promise<void> {
  if (process.platform !== 'linux') throw new AttuneError('bench:train reads /proc and so runs on Linux only');
  const cache = new Cache(options.cache, say);
  say(`models and Pythons are kept in ${cache.folder}`);
  if (options.setup) return installPython(cache, TRAINING);
  const python = findPython(cache, TRAINING);
  if (!python) {
    console.log('\n*** PyTorch and TRL are NOT measured: `npm run bench:train -- --setup` installs them ***\n');
  }
  const { threads } = options;
  console.log(`${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, ${threads} threads for every peer`);
  console.log(`${TRAIN_LEGEND}\n`);
  const names = options.models ?? (options.model.length > 0 ? [] : Object.keys(MODELS));
  const models = [];
  for (const name of [...names, ...options.model]) {
    const usual = MODELS[name] ?? ANOTHER;
    const model = await openModel(cache, name, {});
    const { parts = usual.parts, pairs = usual.pairs } = options;
    models.push(await measureModel(model, { ...options, parts, pairs, python, stop: stop.signal, say }));
  }
  if (!options.json) return;
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, threads };
  await writeFile(options.json, `${JSON.stringify({ machine, models }, null, 2)}\n`);
  say(`written to ${options.json}`);
}

try {
  await program.parseAsync();
  await main(program.opts<Options>());
} catch (error) {
  console.error(error instanceof AttuneError ? `bench: ${error.message}` : error);
  process.exitCode = stop.signal.aborted ? 130 : 1;
}
