// All policies as a line of descent: the graph is drawn, and each row is a link with what one knows the policy by.

import { useMemo } from 'preact/hooks';
import { api, ask, type Policy } from '../../api.ts';
import { follow } from '../../path.ts';
import { formatBytes, formatCount, formatNumber, formatPercent } from '../format.ts';
import { shortenId, Time } from '../parts/links.tsx';
import { Page, Panel } from '../parts/page.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { usePages } from '../use-pages.ts';
import { layOut, listAncestors } from './descent.ts';
import { Graph } from './graph.tsx';
import { getManifest } from './manifest.ts';
import { PolicyBadge } from './policy-badge.tsx';

export function PolicyList() {
  const policies = usePages(
    (after) => ask(api.GET('/v1/policies', { params: { query: { limit: 100, ...(after && { after }) } } })),
    'policies',
  );
  const { rows } = policies;
  const graph = useMemo(() => layOut(rows), [rows]);
  const line = useMemo(() => listAncestors(rows, rows.find(({ active }) => active)?.id), [rows]);
  return (
    <Page
      title="Policies"
      text="Each is immutable, and learned from its parent. The line of the active one is drawn in colour."
      actions={
        rows.length > 1 && (
          <a class="button" href="/console/policies/compare" onClick={follow}>
            Compare two
          </a>
        )
      }
    >
      {policies.error && <Failure title="The policies cannot be read" error={policies.error} retry={policies.reload} />}
      {policies.isLoading && rows.length === 0 && <Loading />}
      {!policies.isLoading && !policies.error && rows.length === 0 && (
        <Empty
          title="No policy yet"
          text="Import a checkpoint, and promote it."
          command="npx attune policies import hf:OWNER/NAME --promote"
        />
      )}
      {rows.length > 0 && (
        <Panel title="Line of descent" class="bare">
          <div class="descent">
            <Graph rows={graph.rows} lanes={graph.lanes} line={line} />
            <ol>
              {rows.map((policy) => (
                <PolicyRow key={policy.id} policy={policy} />
              ))}
            </ol>
          </div>
        </Panel>
      )}
      {policies.hasMore && (
        <div class="actions">
          <button type="button" onClick={policies.readMore} disabled={policies.isLoading}>
            Older policies
          </button>
        </div>
      )}
    </Page>
  );
}

function PolicyRow({ policy }: { policy: Policy }) {
  const { metrics, pairs, serving } = getManifest(policy);
  const accuracy = metrics['rewards/accuracies'];
  const kl = metrics['objective/kl'];
  return (
    <li>
      <div class="who">
        <span>
          <a href={`/console/policies/${policy.id}`} onClick={follow}>
            {policy.name}
          </a>{' '}
          <PolicyBadge state={policy.state} />
        </span>
        <span class="quiet">
          <span class="id">{shortenId(policy.id)}</span> · <Time at={policy.created} />
          {policy.parent === null && ' · imported'}
        </span>
      </div>
      <dl>
        {pairs && <Fact name="pairs" value={formatCount(pairs.count)} />}
        {accuracy !== undefined && <Fact name="accuracy" value={formatPercent(accuracy, 1)} />}
        {kl !== undefined && <Fact name="KL" value={formatNumber(kl)} />}
        {serving && <Fact name="precision" value={serving.precision} />}
        {policy.bytes > 0 && <Fact name="size" value={formatBytes(policy.bytes)} />}
      </dl>
    </li>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div class={`fact ${name}`}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}
