// The items of a queue with their votes, which can be offered again.

import { useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import type { components } from '../../api-types.ts';
import { formatCount } from '../format.ts';
import { Confirm } from '../parts/confirm.tsx';
import { Choose, Segments } from '../parts/field.tsx';
import { More } from '../parts/more.tsx';
import { Badge, Panel, type Tone } from '../parts/page.tsx';
import { Failure, Loading } from '../parts/states.tsx';
import { Table } from '../parts/table.tsx';
import { toLine } from '../parts/text.tsx';
import { useFilters } from '../use-filters.ts';
import { usePages } from '../use-pages.ts';
import { VoteBar } from './measures.tsx';

type Item = components['schemas']['QueueItem'];

const STATES = [
  ['', 'All'],
  ['split', 'Split'],
  ['pending', 'Pending'],
  ['open', 'Open'],
  ['done', 'Done'],
  ['dropped', 'Dropped'],
] as const;
const KINDS = [
  ['', 'Any kind'],
  ['rated', 'Rated'],
  ['gold', 'Gold'],
  ['calibration', 'Calibration'],
] as const;
const TONES: Record<Item['state'], Tone> = { pending: 'quiet', open: 'busy', done: 'good', dropped: 'warn' };

type ItemsProps = { id: string; mayChange: boolean; version: number; onChange(): void };

export function Items({ id, mayChange, version, onChange }: ItemsProps) {
  const { values, set, key } = useFilters('items', 'kind');
  const [chosen, setChosen] = useState<string[]>([]);
  const [asked, setAsked] = useState<'chosen' | 'skipped' | null>(null);
  const pages = usePages<Item>((after) => {
    const state = values.items === 'split' ? { split: 'true' as const } : { state: values.items as Item['state'] };
    const query = {
      limit: 25,
      ...(after ? { after } : {}),
      ...(values.items === '' ? {} : state),
      ...(values.kind === '' ? {} : { kind: values.kind as Item['kind'] }),
    };
    return ask(api.GET('/v1/queues/{id}/items', { params: { path: { id }, query } }));
  }, `${id} ${key} ${version}`);
  const { rows, error, isLoading } = pages;
  const toggle = (item: string) =>
    setChosen((before) => (before.includes(item) ? before.filter((one) => one !== item) : [...before, item]));
  const requeue = async () => {
    const body = asked === 'skipped' ? { skipped: true } : { items: chosen };
    await ask(api.POST('/v1/queues/{id}/requeue', { params: { path: { id } }, body }));
    if (asked === 'chosen') setChosen([]);
    onChange();
  };
  return (
    <Panel
      title="Items"
      actions={
        mayChange && (
          <button type="button" class="small" onClick={() => setAsked('skipped')}>
            Requeue skipped
          </button>
        )
      }
    >
      <div class="filters">
        <Segments
          label="Items"
          value={values.items as (typeof STATES)[number][0]}
          options={STATES}
          onChange={(items) => set({ items })}
        />
        <Choose label="Kind" value={values.kind} options={KINDS} onChange={(kind) => set({ kind })} />
        {chosen.length > 0 && (
          <button type="button" class="set" onClick={() => setAsked('chosen')}>
            Requeue {formatCount(chosen.length)}
          </button>
        )}
      </div>
      {error && <Failure title="Not listed" error={error} retry={pages.reload} />}
      {rows.length === 0 && isLoading && <Loading />}
      {rows.length === 0 && !isLoading && !error && <p class="quiet none">No item is like that.</p>}
      {rows.length > 0 && (
        <>
          <Table
            caption="Items, newest first"
            rows={rows}
            rowKey={(item) => item.id}
            columns={[
              ...(mayChange
                ? [
                    {
                      title: 'Choose',
                      cell: (item: Item) => (
                        <input
                          type="checkbox"
                          aria-label={`Choose: ${toLine(item.prompt).slice(0, 80)}`}
                          checked={chosen.includes(item.id)}
                          onChange={() => toggle(item.id)}
                        />
                      ),
                    },
                  ]
                : []),
              { title: 'Prompt', cell: (item) => <span class="item-prompt">{toLine(item.prompt)}</span> },
              {
                title: 'State',
                cell: ({ state, kind, reason }) => (
                  <span title={reason ?? ''}>
                    <Badge tone={TONES[state]}>{state}</Badge>
                    {kind !== 'rated' && <span class="tag">{kind}</span>}
                  </span>
                ),
              },
              { title: 'Votes', cell: ({ votes }) => <VoteBar votes={votes} /> },
              { title: 'Reviews', isNumber: true, cell: ({ reviews }) => formatCount(reviews) },
              { title: 'Skips', isNumber: true, cell: ({ skips }) => formatCount(skips) },
              {
                title: 'Expected',
                cell: ({ expected }) => expected ?? <span class="quiet">–</span>,
              },
            ]}
          />
          <More pages={pages} name="items" />
        </>
      )}
      {asked && (
        <Confirm
          title={asked === 'skipped' ? 'Requeue skipped items' : 'Requeue the items'}
          action={asked === 'skipped' ? 'Requeue' : `Requeue ${chosen.length}`}
          run={requeue}
          onClose={() => setAsked(null)}
        >
          <p>
            {asked === 'skipped'
              ? 'Items that somebody skipped are offered again to whoever skipped them. The votes on them stay.'
              : 'They are offered for another set of reviews; one that was dropped gets new responses. The votes on them stay.'}
          </p>
        </Confirm>
      )}
    </Panel>
  );
}
