// attune train: one round now, or the trainer's schedule until stopped.

import { constants, setPriority } from 'node:os';
import type { Command } from 'commander';
import { AttuneError } from '../shared/error.ts';
import { startTrainer, trainOnce } from '../trainer/main.ts';
import { showRounds } from './progress.ts';
import { openRoom, untilStopped } from './room.ts';

export function addTrain(program: Command): void {
  program
    .command('train')
    .description('run one round now over the new pairs')
    .option('--schedule', 'stay, and run rounds as TRAIN_SCHEDULE says and as the API asks')
    .addHelpText(
      'after',
      '\nExamples:\n  $ npx attune train\n  $ OBJECTIVE=dpo npx attune train\n  $ npx attune train --schedule\n',
    )
    .action(async (options: { schedule?: boolean }) => {
      const room = await openRoom();
      try {
        await (options.schedule ? stay(room.settings, room.databaseUrl) : trainNow(room.settings, room.databaseUrl));
      } finally {
        await room.leave();
      }
      process.exit(0);
    });
}

type Arguments = Parameters<typeof trainOnce>;

const watch = showRounds((line) => console.log(`trainer: ${line}`));

async function trainNow(settings: Arguments[0], databaseUrl: string): Promise<void> {
  const round = await trainOnce(settings, databaseUrl, watch);
  if (round.status === 'failed') throw new AttuneError(`${round.id} failed: ${round.reason}`);
  console.log(
    `${round.id}: ${round.policy_id ? `published ${round.policy_id}` : 'published nothing'}; ${round.reason}`,
  );
}

async function stay(settings: Arguments[0], databaseUrl: string): Promise<void> {
  // In the background: whoever serves on this machine goes first.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const orphaned = new Promise((resolve) => process.once('disconnect', resolve));
  const trainer = await startTrainer(settings, databaseUrl, watch);
  await Promise.race([untilStopped(), orphaned]);
  // A round in progress is given up: the next trainer marks it failed and its pairs are new again.
  await Promise.race([trainer.close(), new Promise((resolve) => setTimeout(resolve, 1000))]);
}
