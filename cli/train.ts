// attune train: runs one round now, the rounds that are due, or the schedule until stopped.

import { constants, setPriority } from 'node:os';
import path from 'node:path';
import { type Command, Option } from 'commander';
import { type Connection, connect } from '../shared/database/connect.ts';
import { listErasedAncestors } from '../shared/erasure/learners.ts';
import { AttuneError } from '../shared/error.ts';
import { isObjectiveModule } from '../shared/hyperparameters.ts';
import { log } from '../shared/log.ts';
import { openLog } from '../shared/log-output.ts';
import { waitForSignal } from '../shared/process.ts';
import type { RoundOptions, RoundRow } from '../shared/rounds/schedule.ts';
import { openLocalStore } from '../shared/store/local-store.ts';
import { getActivePolicyId } from '../shared/store/registry.ts';
import { startTrainer, trainDue, trainOnce } from '../trainer/main.ts';
import { previewRound } from '../trainer/stages/dry-run.ts';
import { type CommandContext, openContext } from './context.ts';
import { createRoundLogger } from './progress.ts';

type Options = {
  schedule?: boolean;
  due?: boolean;
  dryRun?: boolean;
  fromRoot?: boolean;
  withoutErased?: boolean;
  reward?: boolean;
} & Record<string, unknown>;

/** Options that override a setting. */
const SETTING_OPTIONS = [
  new Option('--objective <name>', 'loss: lsif, ukl, bce, dpo, sft, or the path of a module with a convex h').env(
    'OBJECTIVE',
  ),
  new Option('--effort <number>', 'scales pairs, epochs, evaluations and samples').env('EFFORT'),
  new Option('--epochs <count>', 'passes over the training pairs').env('EPOCHS'),
  new Option('--learning-rate <rate>', 'peak learning rate').env('LEARNING_RATE'),
  new Option('--lora-rank <rank>', 'train adapters of this rank instead of all weights').env('LORA_RANK'),
  new Option('--seed <number>', 'seed of the pair order, the adapter initialization and the sampling').env('SEED'),
];

export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .description('run one training round now, on the new pairs')
    .option('--dry-run', 'print what the round would do, without running it')
    .addOption(
      new Option('--due', 'run the rounds that are queued or due by TRAIN_MIN_PAIRS, if any, and exit').conflicts([
        'schedule',
        'dryRun',
      ]),
    )
    .addOption(
      new Option(
        '--reward',
        'train a reward on all pairs instead of a policy, by REWARD_LOSS; OBJECTIVE=distill REWARD=rwd_… distils it',
      ).conflicts(['schedule', 'due', 'fromRoot', 'withoutErased']),
    )
    .addOption(
      new Option(
        '--from-root',
        'train the first policy of the line on everything that the active one learned, and what is new',
      ).conflicts(['schedule', 'due']),
    )
    .addOption(
      new Option(
        '--without-erased',
        'replace an active policy that learned what was erased since: train from the root over what is left',
      ).conflicts(['schedule', 'due']),
    )
    .option('--schedule', 'run the rounds of TRAIN_SCHEDULE and those requested through the API, until stopped');
  for (const option of SETTING_OPTIONS) command.addOption(option);
  command
    .addHelpText(
      'after',
      '\nAll settings of `attune --help` apply as environment variables.\n' +
        '\nExamples:\n  $ npx attune train --dry-run\n  $ npx attune train --objective dpo --effort 2\n' +
        '  $ npx attune train --reward\n  $ REWARD=rwd_… npx attune train --objective distill\n' +
        '  $ npx attune train --objective ./my-h.ts\n  $ LORA_TARGETS=q_proj,v_proj npx attune train --lora-rank 8\n' +
        '  $ npx attune train --from-root --dry-run\n  $ npx attune train --without-erased\n  $ npx attune train --due\n  $ npx attune train --schedule\n',
    )
    .action(async (options: Options) => {
      if (options.reward) refuseUnused(command);
      const context = await openContext(undefined, { ...process.env, ...toEnvironment(options) });
      try {
        if (options.dryRun) return await preview(context, options);
        // A command that one person runs prints text; a service writes its log as everywhere.
        const isService = options.due || options.schedule;
        openLog(isService ? context.settings : { ...context.settings, LOG_FORMAT: 'text' });
        if (options.due) await trainDueRounds(context);
        else await (options.schedule ? runSchedule(context) : trainNow(context, options));
      } finally {
        await context.close();
      }
      process.exit(0);
    });
}

/** What a reward would ignore; in the environment they are settings of policies. */
function refuseUnused(command: Command): void {
  const isGiven = (name: string) => command.getOptionValueSource(name) === 'cli';
  if (isGiven('objective')) throw new AttuneError('--objective: a reward is trained by REWARD_LOSS; leave it out');
  if (isGiven('learningRate'))
    throw new AttuneError('--learning-rate: a reward has a learning rate of its own; set REWARD_LEARNING_RATE');
}

function toEnvironment(options: Options): Record<string, string> {
  const given = SETTING_OPTIONS.map((option) => [option.envVar!, options[option.attributeName()]] as const);
  const defined = given.flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)] as const]));
  const environment = Object.fromEntries(defined);
  // Absolute, because a trainer with another working directory may run the round.
  if (environment.OBJECTIVE && isObjectiveModule(environment.OBJECTIVE))
    environment.OBJECTIVE = path.resolve(environment.OBJECTIVE);
  return environment;
}

function toRoundOptions({ reward, fromRoot, withoutErased }: Options): RoundOptions {
  return { method: reward ? 'reward' : 'dil', fromRoot: fromRoot || withoutErased };
}

/** Throws AttuneError if there is nothing to replace. */
async function assertErasedLearned({ db }: Connection): Promise<void> {
  const active = await getActivePolicyId(db);
  if (active && (await listErasedAncestors(db, active)).size > 0) return;
  throw new AttuneError(
    `--without-erased: ${active ? `${active}, the active policy, has learned nothing that was erased since` : 'there is no active policy'}; ` +
      '`attune erasures list` shows which policies have, and --from-root trains from the root anyway',
    { code: 'nothing_to_replace' },
  );
}

/** Less than `attune start` waits for its trainer. */
const STOP_TIMEOUT_MS = 3000;

const logProgress = createRoundLogger();

async function preview({ settings, databaseUrl }: CommandContext, options: Options): Promise<void> {
  const connection = connect(databaseUrl, { name: 'attune train', max: 2 });
  try {
    if (options.withoutErased) await assertErasedLearned(connection);
    const localStore = await openLocalStore(settings, connection.db);
    const onProgress = (message: string) => console.error(message);
    const trainer = { settings, store: localStore };
    for (const { name, text } of await previewRound(trainer, connection.db, toRoundOptions(options), onProgress))
      console.log(`${name.padEnd(10)} ${text}`);
  } finally {
    await connection.close();
  }
}

async function trainNow({ settings, databaseUrl }: CommandContext, options: Options): Promise<void> {
  if (options.withoutErased) {
    const connection = connect(databaseUrl, { name: 'attune train', max: 1 });
    await assertErasedLearned(connection).finally(() => connection.close());
  }
  const round = await trainOnce(settings, databaseUrl, logProgress, {
    stop: abortOnSignal(),
    ...toRoundOptions(options),
  });
  if (round.status !== 'succeeded') throw new AttuneError(describeRound(round));
  log.info('trainer', describeRound(round));
}

/** For a timer or a CronJob: succeeds if there is nothing to do. */
async function trainDueRounds({ settings, databaseUrl }: CommandContext): Promise<void> {
  const rounds = await trainDue(settings, databaseUrl, logProgress, abortOnSignal());
  if (rounds.length === 0) log.info('trainer', 'no round is due, or another trainer is running it');
  for (const round of rounds) log.info('trainer', describeRound(round));
  const failed = rounds.filter(({ status }) => status === 'failed');
  if (failed.length > 0) throw new AttuneError(`${failed.length} of ${rounds.length} rounds failed`);
}

function describeRound({ id, status, stage, policy_id, reason }: RoundRow): string {
  if (status !== 'succeeded') return `${id} ${status === 'failed' ? 'failed' : 'ended'}: ${reason}`;
  if (stage === 'previewed') return `${id}: a dry run; ${reason}`;
  if (stage === 'canary') return `${id}: ${policy_id} is a canary; ${reason}`;
  if (stage === 'rolled_back')
    return `${id}: published ${policy_id}, which was rolled back since (\`attune canary list\` says why); ${reason}`;
  // The reason says that it is published and not active.
  if (stage === 'published' && policy_id) return `${id}: ${policy_id} ${reason}`;
  return `${id}: ${policy_id ? `published ${policy_id}` : 'published no policy'}; ${reason}`;
}

/** Aborted at the first signal: the round stops after its current step, because a thread cannot be interrupted. */
function abortOnSignal(): AbortSignal {
  const stop = new AbortController();
  void waitForSignal().then((signal) => {
    log.info('trainer', `${signal}; stopping after this step`);
    stop.abort(new AttuneError(`stopped (${signal}); the next \`attune train\` resumes this round`));
  });
  return stop.signal;
}

async function runSchedule({ settings, databaseUrl }: CommandContext): Promise<void> {
  // Serving on the same machine has priority.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const parentExited = new Promise((resolve) => process.once('disconnect', resolve));
  const trainer = await startTrainer(settings, databaseUrl, logProgress);
  await Promise.race([waitForSignal(), parentExited]);
  // The next trainer resumes the round in progress: after the current step, if that ends in time.
  await Promise.race([trainer.close(), new Promise((resolve) => setTimeout(resolve, STOP_TIMEOUT_MS))]);
}
