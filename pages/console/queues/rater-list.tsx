// The people who rate.

import { useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import { follow } from '../../path.ts';
import { Time } from '../parts/links.tsx';
import { More } from '../parts/more.tsx';
import { Badge, Panel } from '../parts/page.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { Table } from '../parts/table.tsx';
import { usePages } from '../use-pages.ts';
import { type Rater, type RaterDialog, RaterDialogs } from './rater-dialogs.tsx';

export function RaterList({ mayChange }: { mayChange: boolean }) {
  const [dialog, setDialog] = useState<RaterDialog | null>(null);
  const pages = usePages<Rater>(
    (after) => ask(api.GET('/v1/raters', { params: { query: { limit: 25, ...(after ? { after } : {}) } } })),
    '',
  );
  const { rows, error, isLoading, reload } = pages;
  const create = mayChange && (
    <button type="button" class="primary" onClick={() => setDialog({ kind: 'create' })}>
      New rater
    </button>
  );
  return (
    <Panel
      title="Raters"
      hint={rows.length > 0 ? 'Each votes as themself, with a link and no key' : ''}
      actions={rows.length > 0 && create}
    >
      {error && <Failure title="Not listed" error={error} retry={reload} />}
      {rows.length === 0 && isLoading && <Loading />}
      {rows.length === 0 && !isLoading && !error && (
        <Empty
          title="There are no raters yet"
          text="Create one for each person, and send them the link that signs their browser in."
          command='npx attune raters create "Ann Example"'
        >
          {create}
        </Empty>
      )}
      {rows.length > 0 && (
        <>
          <Table
            caption="Raters, newest first"
            rows={rows}
            rowKey={({ id }) => id}
            columns={[
              {
                title: 'Name',
                cell: ({ id, name }) => (
                  <a href={`/console/preferences?rater=${id}`} title={id} onClick={follow}>
                    {name}
                  </a>
                ),
              },
              {
                title: 'Skills',
                cell: ({ skills }) =>
                  skills.length === 0
                    ? '–'
                    : skills.map((skill) => (
                        <span class="tag" key={skill}>
                          {skill}
                        </span>
                      )),
              },
              {
                title: 'State',
                cell: ({ active }) => <Badge tone={active ? 'good' : 'quiet'}>{active ? 'active' : 'inactive'}</Badge>,
              },
              { title: 'Created', cell: ({ created }) => <Time at={created} /> },
              ...(mayChange
                ? [
                    {
                      title: 'Change',
                      cell: (rater: Rater) => (
                        <span class="row-actions">
                          {rater.active && (
                            <button type="button" class="small" onClick={() => setDialog({ kind: 'invite', rater })}>
                              Invite<span class="hidden"> {rater.name}</span>
                            </button>
                          )}
                          <button type="button" class="small" onClick={() => setDialog({ kind: 'turn', rater })}>
                            {rater.active ? 'Deactivate' : 'Activate'}
                            <span class="hidden"> {rater.name}</span>
                          </button>
                        </span>
                      ),
                    },
                  ]
                : []),
            ]}
          />
          <More pages={pages} name="raters" />
        </>
      )}
      <RaterDialogs dialog={dialog} open={setDialog} reload={reload} />
    </Panel>
  );
}
