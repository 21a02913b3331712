// What the loop is doing now, as it happens.

import { useState } from 'preact/hooks';
import type { Loop, Session } from '../../api.ts';
import { EvidencePanel } from '../canaries/canary-page.tsx';
import { Guards } from '../canaries/guards.tsx';
import { formatCount, formatSeconds } from '../format.ts';
import { Time } from '../parts/links.tsx';
import { Badge, Page, Stat, Stats } from '../parts/page.tsx';
import { Failure, Loading } from '../parts/states.tsx';
import { type Change, ConfirmChange } from '../policies/actions.tsx';
import { StartRound } from '../rounds/start-round.tsx';
import { type Feed, useLoop } from '../use-loop.ts';
import { ActivePanel, CanaryPanel, RoundPanel } from './loop-panels.tsx';
import { formatRate } from './rate.ts';
import { TrafficPlots } from './traffic.tsx';

const EVIDENCE_MS = 5000;

export function NowPage({ session }: { session: Session }) {
  const feed = useLoop();
  const [change, setChange] = useState<Change | null>(null);
  const [isStarting, setStarting] = useState(false);
  const { loop, error } = feed;
  if (!loop) return error ? <Failure title="The loop cannot be read" error={error} /> : <Loading />;
  const shown = loop.canary ?? loop.watch;
  return (
    <Page title="Now" text="What serves, what is tried, and what is trained." actions={<Connection feed={feed} />}>
      <Numbers loop={loop} />
      <div class="columns three">
        <ActivePanel loop={loop} session={session} change={setChange} />
        <CanaryPanel loop={loop} session={session} change={setChange} />
        <RoundPanel loop={loop} session={session} start={() => setStarting(true)} />
      </div>
      {shown && <EvidencePanel key={shown.id} canary={shown} refreshMs={EVIDENCE_MS} isNamed />}
      {shown && <Guards canary={shown} isNamed />}
      <TrafficPlots active={loop.active?.policy} />
      {change && <ConfirmChange change={change} onClose={() => setChange(null)} onDone={() => {}} />}
      {isStarting && <StartRound onClose={() => setStarting(false)} />}
    </Page>
  );
}

function Connection({ feed: { connection, error } }: { feed: Feed }) {
  if (error) return <Badge tone="bad">No answer; this is old</Badge>;
  return connection === 'live' ? <Badge tone="good">Live</Badge> : <Badge tone="warn">Every few seconds</Badge>;
}

function Numbers({ loop: { traffic, queue, votes, trainer_seen_at: trainer } }: { loop: Loop }) {
  const { first_token_seconds: first } = traffic;
  return (
    <Stats>
      <Stat label="Requests" value={formatRate(traffic.requests_per_minute)} hint="per minute" />
      <Stat label="Tokens" value={formatRate(traffic.tokens_per_second)} hint="per second" />
      <Stat
        label="First token"
        value={first === null ? '–' : formatSeconds(first)}
        hint={first === null && traffic.requests_per_minute > 0 ? 'comparisons are not timed' : 'in the last minute'}
      />
      <Stat label="Errors" value={formatRate(traffic.errors_per_minute)} hint="per minute" />
      {queue && (
        <Stat label="Queue" value={formatCount(queue.running)} hint={`running; ${formatCount(queue.waiting)} wait`} />
      )}
      <Stat
        label="Votes"
        value={formatCount(votes.last_hour)}
        hint={`in the last hour; ${formatCount(votes.total)} in all`}
      />
      <Stat label="Trainer" value={trainer === null ? 'never' : <Time at={trainer} />} hint="last here" />
    </Stats>
  );
}
