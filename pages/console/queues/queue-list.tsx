// All queues with how far they are.

import { useState } from 'preact/hooks';
import { api, ask, type Queue } from '../../api.ts';
import { go } from '../../path.ts';
import { formatCount, formatPercent } from '../format.ts';
import { IdLink, Time } from '../parts/links.tsx';
import { More } from '../parts/more.tsx';
import { Badge, Panel } from '../parts/page.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { Table } from '../parts/table.tsx';
import { usePages } from '../use-pages.ts';
import { CreateQueue } from './queue-dialogs.tsx';

export function QueueList({ mayChange }: { mayChange: boolean }) {
  const [isCreating, setCreating] = useState(false);
  const pages = usePages<Queue>(
    (after) => ask(api.GET('/v1/queues', { params: { query: { limit: 25, ...(after ? { after } : {}) } } })),
    '',
  );
  const { rows, error, isLoading } = pages;
  const create = mayChange && (
    <button type="button" class="primary" onClick={() => setCreating(true)}>
      New queue
    </button>
  );
  return (
    <Panel title="Queues" actions={rows.length > 0 && create}>
      {error && <Failure title="Not listed" error={error} retry={pages.reload} />}
      {rows.length === 0 && isLoading && <Loading />}
      {rows.length === 0 && !isLoading && !error && (
        <Empty
          title="There is no queue yet"
          text="Make one of prompts that matter to you, and invite people to compare the responses."
          command='npx attune queues create "Support answers"'
        >
          {create}
        </Empty>
      )}
      {rows.length > 0 && (
        <>
          <Table
            caption="Queues, newest first"
            rows={rows}
            rowKey={({ id }) => id}
            columns={[
              {
                title: 'Name',
                cell: ({ id, name }) => (
                  <IdLink kind="queues" id={id}>
                    {name}
                  </IdLink>
                ),
              },
              { title: 'State', cell: ({ status }) => <QueueBadge status={status} /> },
              { title: 'Reviews', cell: (queue) => <Progress queue={queue} /> },
              { title: 'Items', isNumber: true, cell: ({ items }) => formatCount(sumItems(items)) },
              { title: 'Dropped', isNumber: true, cell: ({ items }) => formatCount(items?.rated.dropped ?? 0) },
              { title: 'Reviews each', isNumber: true, cell: ({ settings }) => settings.reviews },
              { title: 'Created', cell: ({ created }) => <Time at={created} /> },
            ]}
          />
          <More pages={pages} name="queues" />
        </>
      )}
      {isCreating && <CreateQueue onClose={() => setCreating(false)} onCreated={(id) => go(`/console/queues/${id}`)} />}
    </Panel>
  );
}

export function QueueBadge({ status }: { status: Queue['status'] }) {
  return <Badge tone={status === 'open' ? 'good' : 'quiet'}>{status}</Badge>;
}

function sumItems(items: Queue['items']): number {
  if (!items) return 0;
  const { pending, open, done } = items.rated;
  return pending + open + done;
}

export function Progress({ queue: { reviews, name } }: { queue: Queue }) {
  const { done, needed } = reviews ?? { done: 0, needed: 0 };
  if (needed === 0) return <span class="quiet">no items</span>;
  return (
    <span class="reviews">
      <progress value={done} max={needed} aria-label={`Reviews of ${name}`} />
      <span>
        {formatCount(done)} of {formatCount(needed)}
      </span>
      <span class="quiet">{formatPercent(done / needed)}</span>
    </span>
  );
}
