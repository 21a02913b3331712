// attune train: one round now, what is due now, or the trainer's schedule until stopped.

import { constants, setPriority } from 'node:os';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { connect } from '../shared/database/connect.ts';
import { AttuneError } from '../shared/error.ts';
import { isObjectiveModule } from '../shared/hyperparameters.ts';
import { waitForSignal } from '../shared/process.ts';
import { openLocalStore } from '../shared/store/local-store.ts';
import { startTrainer, trainDue, trainOnce, type Watch } from '../trainer/main.ts';
import { previewRound } from '../trainer/stages/dry-run.ts';
import { Interruption, type RoundRow } from '../trainer/stages/log.ts';
import { type CommandContext, openContext } from './context.ts';
import { createRoundLogger } from './progress.ts';

type Options = { schedule?: boolean; due?: boolean; dryRun?: boolean } & Record<string, unknown>;

/** Options that stand for a setting, which they overrule. */
const SETTING_OPTIONS = [
  new Option('--objective <name>', 'lsif, ukl, bce, dpo, sft, or the path of a module with a convex h').env(
    'OBJECTIVE',
  ),
  new Option('--effort <number>', 'one dial for pairs, epochs, evaluations and samples').env('EFFORT'),
  new Option('--epochs <count>', 'passes over the pairs').env('EPOCHS'),
  new Option('--learning-rate <rate>', 'peak of the schedule').env('LEARNING_RATE'),
  new Option('--lora-rank <rank>', 'train adapters of this rank instead of all weights').env('LORA_RANK'),
  new Option('--seed <number>', 'seed of the order in which pairs are seen').env('SEED'),
];

export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .description('run one round now over the new pairs')
    .option('--dry-run', 'tell what it would do, and do nothing')
    .addOption(
      new Option('--due', 'run what is queued or due by TRAIN_MIN_PAIRS, if anything is, and end').conflicts([
        'schedule',
        'dryRun',
      ]),
    )
    .option('--schedule', 'stay, and run rounds as TRAIN_SCHEDULE says and as the API asks');
  for (const option of SETTING_OPTIONS) command.addOption(option);
  command
    .addHelpText(
      'after',
      '\nEvery setting that `attune --help` lists may be given as an environment variable.\n' +
        '\nExamples:\n  $ npx attune train --dry-run\n  $ npx attune train --objective dpo --effort 2\n' +
        '  $ npx attune train --objective ./my-h.ts\n  $ LORA_TARGETS=q_proj,v_proj npx attune train --lora-rank 8\n' +
        '  $ npx attune train --due\n  $ npx attune train --schedule\n',
    )
    .action(async (options: Options) => {
      const room = await openContext(undefined, { ...process.env, ...toEnvironment(options) });
      try {
        if (options.dryRun) await preview(room);
        else if (options.due) await trainDueRounds(room);
        else await (options.schedule ? runSchedule(room) : trainNow(room));
      } finally {
        await room.close();
      }
      process.exit(0);
    });
}

function toEnvironment(options: Options): Record<string, string> {
  const given = SETTING_OPTIONS.map((option) => [option.envVar!, options[option.attributeName()]] as const);
  const told = given.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as const]));
  const environment = Object.fromEntries(told);
  // Another trainer, with another working directory, may be the one that runs the round.
  if (environment.OBJECTIVE && isObjectiveModule(environment.OBJECTIVE))
    environment.OBJECTIVE = path.resolve(environment.OBJECTIVE);
  return environment;
}

const watch = createRoundLogger((line) => console.log(`trainer: ${line}`));

async function preview({ settings, databaseUrl }: CommandContext): Promise<void> {
  const connection = connect(databaseUrl, { name: 'attune train', max: 2 });
  try {
    const shelf = await openLocalStore(settings);
    for (const { name, told } of await previewRound({ settings, shelf }, connection.db))
      console.log(`${name.padEnd(10)} ${told}`);
  } finally {
    await connection.close();
  }
}

async function trainNow({ settings, databaseUrl }: CommandContext): Promise<void> {
  const round = await withInterruption((watch) => trainOnce(settings, databaseUrl, watch));
  if (round.status === 'failed') throw new AttuneError(describeRound(round));
  console.log(describeRound(round));
}

/** For a timer or a CronJob: that there is nothing to do is no failure. */
async function trainDueRounds({ settings, databaseUrl }: CommandContext): Promise<void> {
  const ended = await withInterruption((watch) => trainDue(settings, databaseUrl, watch));
  if (ended.length === 0) console.log('trainer: nothing is due, or another trainer is at it');
  for (const round of ended) console.log(describeRound(round));
  const failed = ended.filter(({ status }) => status === 'failed');
  if (failed.length > 0) throw new AttuneError(`${failed.length} of ${ended.length} rounds failed`);
}

function describeRound({ id, status, policy_id, reason }: RoundRow): string {
  if (status === 'failed') return `${id} failed: ${reason}`;
  return `${id}: ${policy_id ? `published ${policy_id}` : 'published nothing'}; ${reason}`;
}

/** Stops between two steps: a thread that computes cannot be ended without ending the process. */
async function withInterruption<T>(work: (watch: Watch) => Promise<T>): Promise<T> {
  let signal: string | null = null;
  void waitForSignal().then((first) => {
    signal = first;
    console.log(`trainer: ${first}; stopping after this step`);
  });
  try {
    return await work((round, progress) => {
      if (signal) throw new Interruption(`stopped (${signal})`);
      watch(round, progress);
    });
  } catch (error) {
    if (!(error instanceof Interruption)) throw error;
    throw new AttuneError(`${error.message}; the next \`attune train\` goes on with this round from here`);
  }
}

async function runSchedule({ settings, databaseUrl }: CommandContext): Promise<void> {
  // In the background: whoever serves on this machine goes first.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const orphaned = new Promise((resolve) => process.once('disconnect', resolve));
  const trainer = await startTrainer(settings, databaseUrl, watch);
  await Promise.race([waitForSignal(), orphaned]);
  // A round in progress is left as it is: the next trainer goes on with it.
  await Promise.race([trainer.close(), new Promise((resolve) => setTimeout(resolve, 1000))]);
}
