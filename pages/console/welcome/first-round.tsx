// The third step: enough pairs, and a round that trains on them.

import { useState } from 'preact/hooks';
import type { Loop, Round } from '../../api.ts';
import { formatCount } from '../format.ts';
import { IdLink } from '../parts/links.tsx';
import { RoundBadge } from '../rounds/round-badge.tsx';
import { RoundProgress } from '../rounds/round-progress.tsx';
import { StartRound } from '../rounds/start-round.tsx';
import { Step } from './step.tsx';

type FirstRoundProps = { loop: Loop; last: Round | null; isDone: boolean; mayTrain: boolean };

export function FirstRound({ loop: { schedule, round, canary }, last, isDone, mayTrain }: FirstRoundProps) {
  const [isStarting, setStarting] = useState(false);
  const { new_pairs: pairs, min_pairs: needed } = schedule;
  return (
    <Step
      number={3}
      title="Run a first round"
      text="A round trains a policy on the new pairs, and publishes it only if held-out pairs show that it is better. The schedule starts one by itself when there are enough."
      isDone={isDone}
    >
      <div class="round-progress">
        <div>
          <span>New pairs</span>
          <span class="quiet number">
            {formatCount(pairs)} ({formatCount(needed)} needed)
          </span>
        </div>
        <progress value={Math.min(pairs, needed)} max={needed} aria-label="New pairs of those that a round needs" />
      </div>
      {round && !round.dry_run ? (
        <>
          <RoundProgress round={round} />
          <p class="small">
            <IdLink kind="rounds" id={round.id}>
              Watch it
            </IdLink>
          </p>
        </>
      ) : (
        <div class="actions">
          <button
            type="button"
            class={!isDone && pairs >= needed ? 'primary' : ''}
            disabled={!mayTrain || pairs === 0}
            onClick={() => setStarting(true)}
          >
            Start a round
          </button>
          {pairs < needed && (
            <span class="quiet">
              {pairs === 0
                ? 'Vote first. A round trains on pairs where one response is better.'
                : 'It can start with fewer; the gate may find them too few.'}
            </span>
          )}
        </div>
      )}
      {last && (
        <p class="small">
          Last round:{' '}
          <IdLink kind="rounds" id={last.id}>
            {last.id.slice(-6)}
          </IdLink>{' '}
          <RoundBadge round={last} />
        </p>
      )}
      {canary && (
        <p class="small">
          The new policy is a{' '}
          <IdLink kind="canaries" id={canary.id}>
            canary
          </IdLink>
          : the two responses of step 2 are now one of each policy, and votes decide whether it replaces the active one.
          Give some, or let the example raters vote again.
        </p>
      )}
      {isStarting && <StartRound onClose={() => setStarting(false)} onStarted={() => {}} />}
    </Step>
  );
}
