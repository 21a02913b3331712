// One round: what it does or did, stage by stage, and how the gate decided.

import { useEffect, useState } from 'preact/hooks';
import { api, ask, type Session } from '../../api.ts';
import { follow } from '../../path.ts';
import { CanaryBadge } from '../canaries/canary-badge.tsx';
import { Confirm } from '../parts/confirm.tsx';
import { IdLink, Time } from '../parts/links.tsx';
import { Page, Panel } from '../parts/page.tsx';
import { Prose } from '../parts/prose.tsx';
import { Empty, Loading, Missing } from '../parts/states.tsx';
import { mayUse } from '../session.ts';
import { useAsk } from '../use-ask.ts';
import { Distributions } from './distributions.tsx';
import { EarlierRounds } from './earlier-rounds.tsx';
import { EventLog } from './event-log.tsx';
import { GateReport } from './gate.tsx';
import { Origins } from './origins.tsx';
import { RoundBadge } from './round-badge.tsx';
import { Preview, RoundSettings, Summary } from './round-numbers.tsx';
import { RoundProgress } from './round-progress.tsx';
import { hasEnded, shortenVerdict } from './stages.ts';
import { Timeline } from './timeline.tsx';
import { TrainingPlots } from './training-plots.tsx';
import { useRoundEvents } from './use-round-events.ts';

const REFRESH_MS = 2000;

const TRIGGERS: Record<string, string> = {
  api: 'through the API',
  schedule: 'by the schedule',
  command: 'from the command line',
};

export function RoundPage({ session, id }: { session: Session; id: string }) {
  const [isCancelling, setCancelling] = useState(false);
  const [hasFinished, setFinished] = useState(false);
  const path = { params: { path: { id } } };
  const refreshMs = hasFinished ? 0 : REFRESH_MS;
  const round = useAsk(() => ask(api.GET('/v1/rounds/{id}', path)), id, refreshMs);
  const metrics = useAsk(() => ask(api.GET('/v1/rounds/{id}/metrics', path)), id, refreshMs);
  const finish = () => {
    setFinished(true);
    round.reload();
    metrics.reload();
  };
  const events = useRoundEvents(id, finish);
  const now = useNow(!hasFinished);
  useEffect(() => setFinished(false), [id]);

  const { data } = round;
  if (!data && round.error)
    return <Missing what="round" error={round.error} retry={round.reload} list="rounds" listName="Rounds" />;
  if (!data) return <Loading />;
  const steps = metrics.data?.data ?? [];
  const mayCancel = mayUse(session, ['train']) && !hasEnded(data);
  return (
    <Page
      parent={
        <a href="/console/rounds" onClick={follow}>
          Rounds
        </a>
      }
      title={
        <>
          {data.dry_run ? 'Dry run' : data.method.type === 'reward' ? 'Reward round' : 'Round'}{' '}
          <span class="id">{id.slice(-6)}</span> <RoundBadge round={data} />
        </>
      }
      text={
        <>
          requested <Time at={data.created_at} /> {TRIGGERS[data.trigger] ?? data.trigger}
          {data.from_root && ', from the root'}
        </>
      }
      actions={
        mayCancel && (
          <button type="button" onClick={() => setCancelling(true)}>
            Cancel round
          </button>
        )
      }
    >
      {!hasEnded(data) && <RoundProgress round={data} />}
      {data.reason && !data.preview && (
        <p class="reason">
          <Prose text={data.reason} />
        </p>
      )}
      {data.canary && (
        <p class="reason">
          <IdLink kind="canaries" id={data.canary.id}>
            Canary
          </IdLink>{' '}
          <CanaryBadge state={data.canary.state} /> {data.canary.reason && <Prose text={data.canary.reason} />}
        </p>
      )}
      <Summary round={data} now={now} />
      {data.preview && <Preview lines={data.preview} />}
      <Panel title="Stages">
        <Timeline round={data} events={events} now={now} />
      </Panel>
      {steps.length > 0 && <TrainingPlots steps={steps} />}
      <Distributions steps={steps} />
      {data.gate && <GateReport gate={data.gate} said={data.reason} />}
      <Origins round={data} />
      {data.earlier_rounds && data.earlier_rounds.length > 0 && <EarlierRounds rounds={data.earlier_rounds} />}
      {!data.dry_run && hasEnded(data) && steps.length === 0 && (
        <Empty
          title="It trained nothing"
          text="A round that ends before it trains has no metrics; its events say why."
        />
      )}
      {events.length > 0 && <EventLog events={shortenVerdict(events, data)} />}
      <RoundSettings round={data} />
      {isCancelling && (
        <Confirm
          title="Cancel this round?"
          action="Cancel the round"
          isDangerous
          run={() => ask(api.POST('/v1/rounds/{id}/cancel', path)).then(round.reload)}
          onClose={() => setCancelling(false)}
        >
          <p>
            It stops at its next step and publishes nothing. Its pairs are new again, so that a later round can learn
            them.
          </p>
        </Confirm>
      )}
    </Page>
  );
}

/** Unix seconds, each second while something goes on. */
function useNow(isTicking: boolean): number {
  const [now, setNow] = useState(() => Date.now() / 1000);
  useEffect(() => {
    if (!isTicking) return;
    const timer = setInterval(() => setNow(Date.now() / 1000), 1000);
    return () => clearInterval(timer);
  }, [isTicking]);
  return now;
}
