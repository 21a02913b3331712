// A trainer that pauses in a stage of a round, so that a test can act in the middle of it.

import type { ProgressListener } from '../trainer/main.ts';
import type { TrainerContext } from '../trainer/stages/round-context.ts';

export const STAGES = ['selecting', 'scoring', 'training', 'evaluating', 'publishing'] as const;
export type StageName = (typeof STAGES)[number];

/** A trainer that calls `act` once in the stage, and does not go on before that is over. */
export function pauseIn(
  { settings, store }: TrainerContext,
  stage: StageName,
  act: () => Promise<void>,
): { trainer: TrainerContext; onProgress: ProgressListener } {
  let acting: Promise<void> | undefined;
  let current: string = 'queued';
  const pause = async () => {
    if (current !== stage) return;
    acting ??= act();
    await acting;
  };
  const trainer: TrainerContext = {
    settings,
    store: {
      ...store,
      getFolder: (id) => pause().then(() => store.getFolder(id)),
      createStaging: () => pause().then(() => store.createStaging()),
    },
  };
  const onProgress: ProgressListener = (_round, progress) => {
    current = progress.stage;
    // Training calls no store; its steps go on while the trainer is not stopped.
    if (stage === 'training') void pause();
  };
  return { trainer, onProgress };
}
