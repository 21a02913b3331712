// What a policy learned from: itself and its ancestors, with the pairs that each was trained on.

import { api, ask } from '../../api.ts';
import type { paths } from '../../api-types.ts';
import { formatCount } from '../format.ts';
import { Bars } from '../parts/bars.tsx';
import { IdLink, Time } from '../parts/links.tsx';
import { Panel } from '../parts/page.tsx';
import { Failure, Loading } from '../parts/states.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { findLabel, SOURCES } from '../preferences/words.tsx';
import { useAsk } from '../use-ask.ts';
import { useRaterNames } from '../use-rater-names.ts';

type Step = paths['/v1/policies/{id}/lineage']['get']['responses'][200]['content']['application/json']['data'][number];

const COLUMNS: Column<Step>[] = [
  {
    title: 'Policy',
    cell: ({ policy, name }) => (
      <>
        <IdLink kind="policies" id={policy}>
          {name}
        </IdLink>{' '}
        <span class="quiet id">{policy.slice(-6)}</span>
      </>
    ),
  },
  { title: 'Made', cell: ({ created }) => <Time at={created} /> },
  { title: 'Round', cell: ({ round }) => (round ? <IdLink kind="rounds" id={round} /> : 'imported') },
  { title: 'New pairs', isNumber: true, cell: ({ learned }) => formatCount(learned) },
  { title: 'Replayed', isNumber: true, cell: ({ replayed }) => formatCount(replayed) },
  { title: 'Held out', isNumber: true, cell: ({ held_out }) => formatCount(held_out) },
  { title: 'Raters', isNumber: true, cell: ({ rater_count }) => formatCount(rater_count) },
];

export function LearnedFrom({ id }: { id: string }) {
  const { data, error, reload } = useAsk(
    () => ask(api.GET('/v1/policies/{id}/lineage', { params: { path: { id }, query: {} } })),
    id,
  );
  const nameRater = useRaterNames();
  return (
    <Panel title="What it learned from" hint="and its ancestors before it">
      {!data && (error ? <Failure title="The lineage cannot be read" error={error} retry={reload} /> : <Loading />)}
      {data && (
        <>
          {data.data[0]?.round && (
            <div class="columns narrow learned">
              <div>
                <h3>By source</h3>
                <Bars
                  bars={Object.entries(data.data[0].sources).map(([name, count]) => ({
                    name: findLabel(SOURCES, name),
                    count,
                  }))}
                  empty="No pairs."
                />
              </div>
              <div>
                <h3>By rater</h3>
                <Bars
                  bars={data.data[0].raters.map(({ rater, pairs }) => ({ name: nameRater(rater), count: pairs }))}
                  empty="Its raters are of other tenants."
                />
              </div>
            </div>
          )}
          <Table
            caption="The policy and its ancestors"
            columns={COLUMNS}
            rows={data.data}
            rowKey={(row) => row.policy}
          />
        </>
      )}
    </Panel>
  );
}
