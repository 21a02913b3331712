// The three things that go on: the policy that answers, the canary that may replace it, and the round that makes the next.

import type { Canary, Loop, Session } from '../../api.ts';
import { CanaryBadge } from '../canaries/canary-badge.tsx';
import { formatCount, formatNumber, formatPercent } from '../format.ts';
import { IdLink, Time } from '../parts/links.tsx';
import { Badge, Panel } from '../parts/page.tsx';
import { PolicyLink } from '../parts/policy-link.tsx';
import { Prose } from '../parts/prose.tsx';
import { Empty } from '../parts/states.tsx';
import type { Change } from '../policies/actions.tsx';
import { RoundBadge } from '../rounds/round-badge.tsx';
import { RoundProgress } from '../rounds/round-progress.tsx';
import { mayUse } from '../session.ts';
import { LastCanary } from './last-canary.tsx';
import { useHasPrevious } from './use-has-previous.ts';

type PanelProps = { loop: Loop; session: Session; change(change: Change): void };

export function ActivePanel({ loop, session, change }: PanelProps) {
  const { active, watch } = loop;
  const hasPrevious = useHasPrevious(active?.policy);
  if (!active)
    return (
      <Panel title="Active policy">
        <Empty
          title="No policy is active"
          text="Import a checkpoint, and promote it."
          command="npx attune policies import hf:OWNER/NAME --promote"
        />
      </Panel>
    );
  const worse = watch?.guards.filter(({ state }) => state === 'worse') ?? [];
  return (
    <Panel
      title="Active policy"
      actions={
        hasPrevious &&
        mayUse(session, ['operate']) && (
          <button type="button" class="small" onClick={() => change({ type: 'roll back', from: active.policy })}>
            Roll back
          </button>
        )
      }
    >
      <p class="lead">
        <IdLink kind="policies" id={active.policy}>
          {active.name}
        </IdLink>
      </p>
      <p class="quiet">
        <span class="id">{active.policy.slice(-6)}</span> became active <Time at={active.since} />
      </p>
      {watch && (
        <p>
          <Badge tone={worse.length > 0 ? 'bad' : 'busy'}>Watched</Badge>{' '}
          <IdLink kind="canaries" id={watch.id}>
            by its guards
          </IdLink>
          {watch.closes_at !== null && (
            <>
              ; the watch ends <Time at={watch.closes_at} />
            </>
          )}
        </p>
      )}
    </Panel>
  );
}

export function CanaryPanel({ loop: { canary, watch }, session, change }: PanelProps) {
  if (!canary)
    return (
      <Panel title="Canary">
        <p class="lead quiet">None is running.</p>
        <LastCanary watch={watch?.id} />
      </Panel>
    );
  return (
    <Panel
      title="Canary"
      actions={
        mayUse(session, ['operate']) && (
          <>
            <button
              type="button"
              class="small"
              onClick={() =>
                change({ type: 'promote', policy: canary.policy, name: 'the candidate', canary: canary.id })
              }
            >
              Promote now
            </button>
            <button
              type="button"
              class="small"
              onClick={() => change({ type: 'end canary', canary: canary.id, isWatch: false })}
            >
              End
            </button>
          </>
        )
      }
    >
      <p class="lead">
        <PolicyLink id={canary.policy} /> <CanaryBadge state={canary.state} />
      </p>
      <p class="quiet">
        {formatPercent(canary.share)} of the requests, begun <Time at={canary.created} />;{' '}
        {formatCount(canary.votes.wins)} votes for it, {formatCount(canary.votes.losses)} against.{' '}
        <IdLink kind="canaries" id={canary.id}>
          All about it
        </IdLink>
      </p>
      <GuardsLine canary={canary} />
    </Panel>
  );
}

function GuardsLine({ canary: { guards, evidence } }: { canary: Canary }) {
  const count = (state: string) => guards.filter((guard) => guard.state === state).length;
  return (
    <p>
      E₊ {formatNumber(10 ** evidence.better)}, E₋ {formatNumber(10 ** evidence.worse)}; guards: {count('ok')} not
      worse, {count('waiting')} waiting{count('worse') > 0 && `, ${count('worse')} worse`}
    </p>
  );
}

export function RoundPanel({ loop, session, start }: { loop: Loop; session: Session; start(): void }) {
  const { round, schedule } = loop;
  const isWorking = round?.status === 'running';
  const isAway = !isWorking && (loop.trainer_seen_at === null || loop.at - loop.trainer_seen_at > 180);
  return (
    <Panel
      title={round ? 'Round' : 'Next round'}
      actions={
        !round &&
        mayUse(session, ['train']) && (
          <button type="button" class="small" onClick={start}>
            Start a round
          </button>
        )
      }
    >
      {round ? (
        <>
          <p class="lead">
            <IdLink kind="rounds" id={round.id}>
              {`${round.dry_run ? 'Dry run' : 'Round'} ${round.id.slice(-6)}`}
            </IdLink>{' '}
            <RoundBadge round={round} />
          </p>
          <RoundProgress round={round} />
        </>
      ) : (
        <>
          <p class="lead">
            {formatCount(schedule.new_pairs)} new pairs{' '}
            <span class="quiet">({formatCount(schedule.min_pairs)} needed)</span>
          </p>
          <progress
            value={Math.min(schedule.new_pairs, schedule.min_pairs)}
            max={schedule.min_pairs}
            aria-label="New pairs of those that the schedule needs"
          />
          <p class="quiet">
            <Prose
              text={schedule.waits_for ? `It waits: ${schedule.waits_for}.` : 'The schedule starts one when it is due.'}
            />
          </p>
        </>
      )}
      {isAway && (
        <p class="warning">
          {loop.trainer_seen_at === null ? (
            'No trainer was ever here.'
          ) : (
            <>
              The trainer was last here <Time at={loop.trainer_seen_at} />.
            </>
          )}{' '}
          Start one: <code>npx attune train --schedule</code>
        </p>
      )}
    </Panel>
  );
}
