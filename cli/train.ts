// attune train: one round now, or the trainer's schedule until stopped.

import { constants, setPriority } from 'node:os';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { connect } from '../shared/database/connect.ts';
import { AttuneError } from '../shared/error.ts';
import { openFolderStore } from '../shared/policy/store.ts';
import { isModule } from '../trainer/divergence.ts';
import { startTrainer, trainOnce } from '../trainer/main.ts';
import { previewRound } from '../trainer/preview.ts';
import { Interruption } from '../trainer/record.ts';
import { showRounds } from './progress.ts';
import { openRoom, type Room, untilStopped } from './room.ts';

type Options = { schedule?: boolean; dryRun?: boolean } & Record<string, unknown>;

/** Options that stand for a setting, which they overrule. */
const OVERRULING = [
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
    .option('--schedule', 'stay, and run rounds as TRAIN_SCHEDULE says and as the API asks');
  for (const option of OVERRULING) command.addOption(option);
  command
    .addHelpText(
      'after',
      '\nEvery setting that `attune --help` lists may be given as an environment variable.\n' +
        '\nExamples:\n  $ npx attune train --dry-run\n  $ npx attune train --objective dpo --effort 2\n' +
        '  $ npx attune train --objective ./my-h.ts\n  $ LORA_TARGETS=q_proj,v_proj npx attune train --lora-rank 8\n' +
        '  $ npx attune train --schedule\n',
    )
    .action(async (options: Options) => {
      const room = await openRoom(undefined, { ...process.env, ...toEnvironment(options) });
      try {
        if (options.dryRun) await preview(room);
        else await (options.schedule ? stay(room) : trainNow(room));
      } finally {
        await room.leave();
      }
      process.exit(0);
    });
}

function toEnvironment(options: Options): Record<string, string> {
  const given = OVERRULING.map((option) => [option.envVar!, options[option.attributeName()]] as const);
  const told = given.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as const]));
  const environment = Object.fromEntries(told);
  // Another trainer, with another working directory, may be the one that runs the round.
  if (environment.OBJECTIVE && isModule(environment.OBJECTIVE))
    environment.OBJECTIVE = path.resolve(environment.OBJECTIVE);
  return environment;
}

const watch = showRounds((line) => console.log(`trainer: ${line}`));

async function preview({ settings, databaseUrl }: Room): Promise<void> {
  const connection = connect(databaseUrl, { name: 'attune train', max: 2 });
  try {
    const store = await openFolderStore(path.join(settings.ATTUNE_HOME, 'policies'));
    for (const { name, told } of await previewRound({ settings, store }, connection.db))
      console.log(`${name.padEnd(10)} ${told}`);
  } finally {
    await connection.close();
  }
}

async function trainNow({ settings, databaseUrl }: Room): Promise<void> {
  let signal: string | null = null;
  void untilStopped().then((first) => {
    signal = first;
    console.log(`trainer: ${first}; stopping after this step`);
  });
  // Between two steps: a thread that computes cannot be ended without ending the process.
  const round = await trainOnce(settings, databaseUrl, (row, progress) => {
    if (signal) throw new Interruption(`stopped (${signal})`);
    watch(row, progress);
  }).catch((error: unknown) => {
    if (!(error instanceof Interruption)) throw error;
    throw new AttuneError(`${error.message}; the next \`attune train\` goes on with this round from here`);
  });
  if (round.status === 'failed') throw new AttuneError(`${round.id} failed: ${round.reason}`);
  console.log(
    `${round.id}: ${round.policy_id ? `published ${round.policy_id}` : 'published nothing'}; ${round.reason}`,
  );
}

async function stay({ settings, databaseUrl }: Room): Promise<void> {
  // In the background: whoever serves on this machine goes first.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const orphaned = new Promise((resolve) => process.once('disconnect', resolve));
  const trainer = await startTrainer(settings, databaseUrl, watch);
  await Promise.race([untilStopped(), orphaned]);
  // A round in progress is left as it is: the next trainer goes on with it.
  await Promise.race([trainer.close(), new Promise((resolve) => setTimeout(resolve, 1000))]);
}
