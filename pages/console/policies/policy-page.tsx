// One policy: what it learned from, how exactly it is served, and what can be done with it.

import { useState } from 'preact/hooks';
import { api, ask, type Policy, type Session } from '../../api.ts';
import { follow } from '../../path.ts';
import { formatBytes, formatCount, formatNumber, formatPercent } from '../format.ts';
import { IdLink, Time } from '../parts/links.tsx';
import { Page, Panel, Stat, Stats } from '../parts/page.tsx';
import { PolicyLink } from '../parts/policy-link.tsx';
import { Loading, Missing } from '../parts/states.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { mayUse } from '../session.ts';
import { useAsk } from '../use-ask.ts';
import { type Change, ConfirmChange } from './actions.tsx';
import { LearnedFrom } from './learned-from.tsx';
import { getManifest } from './manifest.ts';
import { PolicyBadge } from './policy-badge.tsx';

/** A canary or a watch changes its state. */
const REFRESH_MS = 5000;

export function PolicyPage({ session, id }: { session: Session; id: string }) {
  const [change, setChange] = useState<Change | null>(null);
  const path = { params: { path: { id } } };
  const asked = useAsk(() => ask(api.GET('/v1/policies/{id}', path)), id, REFRESH_MS);
  const policy = asked.data;
  if (!policy && asked.error)
    return <Missing what="policy" error={asked.error} retry={asked.reload} list="policies" listName="Policies" />;
  if (!policy) return <Loading />;
  const { serving, metrics, pairs } = getManifest(policy);
  const { name } = policy;
  return (
    <Page
      parent={
        <a href="/console/policies" onClick={follow}>
          Policies
        </a>
      }
      title={
        <>
          {name} <PolicyBadge state={policy.state} />
        </>
      }
      text={
        <>
          <span class="id">{id}</span>, <Time at={policy.created} />
          {policy.round && (
            <>
              {' '}
              by <IdLink kind="rounds" id={policy.round} />
            </>
          )}
        </>
      }
      actions={
        <>
          <a class="button" href={`/console/policies/compare?a=${id}`} onClick={follow}>
            Compare
          </a>
          {mayUse(session, ['operate']) &&
            (policy.active ? (
              <button type="button" onClick={() => setChange({ type: 'roll back', from: id })}>
                Roll back
              </button>
            ) : (
              <>
                {policy.state !== 'canary' && (
                  <button type="button" onClick={() => setChange({ type: 'start canary', policy: id, name })}>
                    Send to canary
                  </button>
                )}
                <button type="button" class="primary" onClick={() => setChange({ type: 'promote', policy: id, name })}>
                  Promote
                </button>
              </>
            ))}
        </>
      }
    >
      <Stats>
        {policy.parent && <Stat label="Learned from" value={<PolicyLink id={policy.parent} />} />}
        {pairs && <Stat label="Pairs" value={formatCount(pairs.count)} />}
        {metrics['rewards/accuracies'] !== undefined && (
          <Stat label="Accuracy" value={formatPercent(metrics['rewards/accuracies'], 1)} hint="of held-out pairs" />
        )}
        {metrics['objective/kl'] !== undefined && (
          <Stat label="KL to the root" value={`${formatNumber(metrics['objective/kl'])} nats`} hint="per response" />
        )}
        {serving && <Stat label="Precision" value={serving.precision} />}
        <Stat label="Size" value={formatBytes(policy.bytes)} />
      </Stats>
      <LearnedFrom id={id} />
      {serving && <Precisions serving={serving} />}
      <Details policy={policy} />
      {change && <ConfirmChange change={change} onClose={() => setChange(null)} onDone={asked.reload} />}
    </Page>
  );
}

type Serving = NonNullable<ReturnType<typeof getManifest>['serving']>;
type Precision = [name: string, accuracy: Serving['accuracy'][string]];

function Precisions({ serving }: { serving: Serving }) {
  const columns: Column<Precision>[] = [
    { title: 'Precision', cell: ([name]) => (name === serving.precision ? <strong>{name}, served</strong> : name) },
    { title: 'KL to float32, nats per token', isNumber: true, cell: ([, { kl }]) => formatNumber(kl) },
    { title: 'Same most likely token', isNumber: true, cell: ([, one]) => formatPercent(one.greedy_agreement, 1) },
    { title: 'Perplexity', isNumber: true, cell: ([, { perplexity }]) => formatNumber(perplexity, 4) },
  ];
  const rows = Object.entries(serving.accuracy);
  return (
    <Panel title="Accuracy by precision" hint={`over ${formatCount(rows[0]?.[1].tokens ?? 0)} tokens of its own`}>
      <Table caption="Each precision, with what it loses" columns={columns} rows={rows} rowKey={([name]) => name} />
    </Panel>
  );
}

function Details({ policy }: { policy: Policy }) {
  const { architecture, files, metrics, source, license } = getManifest(policy);
  const shown: [string, unknown][] = [
    ['source', source],
    ['licence', license],
    ...Object.entries(architecture).filter(([, value]) => typeof value !== 'object' || value === null),
  ];
  return (
    <>
      {Object.keys(metrics).length > 0 && (
        <details class="panel">
          <summary>Metrics</summary>
          <dl class="lines settings">
            {Object.entries(metrics).map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{formatNumber(value, 4)}</dd>
              </div>
            ))}
          </dl>
        </details>
      )}
      <details class="panel">
        <summary>Model</summary>
        <dl class="lines settings">
          {shown
            .filter(([, value]) => value != null)
            .map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{String(value)}</dd>
              </div>
            ))}
        </dl>
      </details>
      <details class="panel">
        <summary>Files</summary>
        <dl class="lines settings">
          {Object.entries(files).map(([name, { bytes }]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{formatBytes(bytes)}</dd>
            </div>
          ))}
        </dl>
      </details>
    </>
  );
}
