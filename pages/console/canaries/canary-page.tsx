// One canary: the evidence of the votes, the guards, and how it went.

import { useState } from 'preact/hooks';
import { api, ask, type Canary, type Session } from '../../api.ts';
import { follow } from '../../path.ts';
import { formatPercent, formatTime } from '../format.ts';
import { IdLink, Time } from '../parts/links.tsx';
import { Page, Panel, Stat, Stats } from '../parts/page.tsx';
import { Prose } from '../parts/prose.tsx';
import { Empty, Failure, Loading, Missing } from '../parts/states.tsx';
import { type Change, ConfirmChange } from '../policies/actions.tsx';
import { mayUse } from '../session.ts';
import { useAsk } from '../use-ask.ts';
import { CanaryBadge, isOpen } from './canary-badge.tsx';
import { EProcess } from './e-process.tsx';
import { Guards } from './guards.tsx';
import { Sides } from './sides.tsx';
import { Votes } from './votes.tsx';

const REFRESH_MS = 3000;

export function CanaryPage({ session, id }: { session: Session; id: string }) {
  const [change, setChange] = useState<Change | null>(null);
  const [isLive, setLive] = useState(true);
  const path = { params: { path: { id } } };
  const refreshMs = isLive ? REFRESH_MS : 0;
  const asked = useAsk(() => ask(api.GET('/v1/canaries/{id}', path)), id, refreshMs);
  const canary = asked.data;
  if (canary && isOpen(canary) !== isLive) setLive(isOpen(canary));
  if (!canary && asked.error)
    return <Missing what="canary" error={asked.error} retry={asked.reload} list="canaries" listName="Canaries" />;
  if (!canary) return <Loading />;
  const isWatch = canary.state === 'watching';
  return (
    <Page
      parent={
        <a href="/console/canaries" onClick={follow}>
          Canaries
        </a>
      }
      title={
        <>
          Canary <span class="id">{id.slice(-6)}</span> <CanaryBadge state={canary.state} />
        </>
      }
      text={<Sides canary={canary} />}
      actions={
        isOpen(canary) &&
        mayUse(session, ['operate']) && (
          <>
            {!isWatch && (
              <button
                type="button"
                onClick={() => setChange({ type: 'promote', policy: canary.policy, name: 'the candidate', canary: id })}
              >
                Promote now
              </button>
            )}
            <button type="button" onClick={() => setChange({ type: 'end canary', canary: id, isWatch })}>
              {isWatch ? 'End the watch' : 'End the canary'}
            </button>
          </>
        )
      }
    >
      {canary.reason && (
        <p class="reason">
          <Prose text={canary.reason} />
        </p>
      )}
      <Stats>
        <Stat label="Share of the requests" value={formatPercent(canary.share)} />
        <Stat label="Began" value={<Time at={canary.created} />} hint={`by ${canary.created_by}`} />
        {canary.closes_at !== null && (
          <Stat label={isWatch ? 'Watch ends' : 'Undecided, it ends'} value={<Time at={canary.closes_at} />} />
        )}
        {canary.round && <Stat label="Made by" value={<IdLink kind="rounds" id={canary.round} />} />}
      </Stats>
      <EvidencePanel canary={canary} refreshMs={refreshMs} />
      <Votes canary={canary} />
      <Guards canary={canary} />
      <History canary={canary} />
      {change && <ConfirmChange change={change} onClose={() => setChange(null)} onDone={asked.reload} />}
    </Page>
  );
}

type EvidenceProps = { canary: Canary; refreshMs: number; isNamed?: boolean };

/** `isNamed`: says whose it is. */
export function EvidencePanel({ canary, refreshMs, isNamed = false }: EvidenceProps) {
  const { data, error, reload } = useAsk(
    () => ask(api.GET('/v1/canaries/{id}/evidence', { params: { path: { id: canary.id } } })),
    canary.id,
    refreshMs,
  );
  return (
    <Panel
      title="Evidence"
      hint="E values over the votes; the first to cross its line decides, however often one looks"
    >
      {isNamed && (
        <p class="sides">
          <Sides canary={canary} />
        </p>
      )}
      {!data && (error ? <Failure title="It cannot be read" error={error} retry={reload} /> : <Loading />)}
      {data && data.data.length > 0 && <EProcess evidence={data} canary={canary} />}
      {data && data.data.length === 0 && <NoVotes state={canary.state} />}
    </Panel>
  );
}

function NoVotes({ state }: Pick<Canary, 'state'>) {
  if (state === 'running')
    return (
      <Empty
        title="No votes yet"
        text="Comparisons set the candidate against the active policy, blind. Give some votes, or let a queue with the pairing canary collect them."
      >
        {/* The arena needs no queue. */}
        <a class="button" href="/rate/arena">
          Rate
        </a>
      </Empty>
    );
  return (
    <Empty
      title="No votes"
      text={
        state === 'watching'
          ? 'It became active without blind votes on it and its baseline. The guards watch it.'
          : 'It ended without blind votes on it and its baseline.'
      }
    />
  );
}

function History({ canary }: { canary: Canary }) {
  const steps = [
    { at: canary.created, text: `begun by ${canary.created_by}, with ${formatPercent(canary.share)} of the requests` },
    canary.promoted_at !== null && { at: canary.promoted_at, text: 'promoted: it is the active policy, and watched' },
    canary.ended_at !== null && { at: canary.ended_at, text: canary.reason ?? canary.state },
  ].filter((step) => step !== false);
  return (
    <Panel title="Timeline">
      <ol class="history">
        {steps.map(({ at, text }) => (
          <li key={text}>
            <span class="quiet">{formatTime(at)}</span>
            <span>{text}</span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}
