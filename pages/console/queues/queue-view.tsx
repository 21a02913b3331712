// One queue: how far it is, how good its votes are, and its items.

import { useState } from 'preact/hooks';
import { api, ask, type Queue } from '../../api.ts';
import { follow } from '../../path.ts';
import { formatCount, formatPercent } from '../format.ts';
import { Confirm } from '../parts/confirm.tsx';
import { shortenId, Time } from '../parts/links.tsx';
import { Page, Panel, Stat, Stats } from '../parts/page.tsx';
import { Empty, Loading, Missing } from '../parts/states.tsx';
import { useAsk } from '../use-ask.ts';
import { AddItems } from './add-items.tsx';
import { DrawItems } from './draw-items.tsx';
import { Items } from './items.tsx';
import { Quality } from './quality.tsx';
import { EditQueue } from './queue-dialogs.tsx';
import { QueueBadge } from './queue-list.tsx';
import { QueueSettings } from './queue-settings.tsx';

const REFRESH_MS = 10_000;

type Dialog = 'add' | 'draw' | 'status' | 'settings';

export function QueueView({ id, mayChange }: { id: string; mayChange: boolean }) {
  const path = { params: { path: { id } } };
  const { data, error, reload } = useAsk(() => ask(api.GET('/v1/queues/{id}', path)), id, REFRESH_MS);
  const [dialog, setDialog] = useState<Dialog | null>(null);
  const [version, setVersion] = useState(0);
  if (error && !data)
    return <Missing what="queue" error={error} retry={reload} list="queues" listName="Raters and queues" />;
  if (!data) return <Loading />;
  const close = () => setDialog(null);
  const change = () => {
    reload();
    setVersion((before) => before + 1);
  };
  const isOpen = data.status === 'open';
  const opened = { queue: data, onClose: close, onChange: change };
  return (
    <Page
      parent={
        <a href="/console/queues" onClick={follow}>
          Raters and queues
        </a>
      }
      title={data.name}
      text={
        <>
          <QueueBadge status={data.status} /> created <Time at={data.created} />, id{' '}
          <span class="id">{shortenId(data.id)}</span>
        </>
      }
      actions={
        <>
          {mayChange && (
            <>
              <button type="button" class="primary" onClick={() => setDialog('add')}>
                Add items
              </button>
              <button type="button" onClick={() => setDialog('draw')}>
                Draw from traffic
              </button>
              <button type="button" onClick={() => setDialog('status')}>
                {isOpen ? 'Close' : 'Reopen'}
              </button>
            </>
          )}
          <a class="button" href={`/v1/queues/${id}/export`} download={`${id}.jsonl`}>
            Export
          </a>
          <a class="button" href={`/rate/${id}`}>
            Rate
          </a>
        </>
      }
    >
      <State queue={data} />
      <QueueSettings queue={data} edit={mayChange ? () => setDialog('settings') : null} />
      {isEmpty(data) ? (
        <Panel title="Items">
          <Empty
            title="The queue has no items"
            text="Paste prompts or choose a file, or draw prompts of completions that were served."
            command={`npx attune queues import ${id} prompts.jsonl`}
          >
            {mayChange && (
              <button type="button" class="primary" onClick={() => setDialog('add')}>
                Add items
              </button>
            )}
          </Empty>
        </Panel>
      ) : (
        <>
          <Quality id={id} mayChange={mayChange} version={version} />
          <Items id={id} mayChange={mayChange} version={version} onChange={change} />
        </>
      )}
      {dialog === 'add' && <AddItems {...opened} />}
      {dialog === 'draw' && <DrawItems {...opened} />}
      {dialog === 'settings' && <EditQueue {...opened} />}
      {dialog === 'status' && (
        <Confirm
          title={isOpen ? 'Close the queue' : 'Reopen the queue'}
          action={isOpen ? 'Close' : 'Reopen'}
          isDangerous={isOpen}
          run={async () => {
            await ask(api.POST('/v1/queues/{id}', { ...path, body: { status: isOpen ? 'closed' : 'open' } }));
            change();
          }}
          onClose={close}
        >
          <p>
            {isOpen
              ? 'No item is given out any more. Votes on items that raters have open still count, and it can be reopened.'
              : 'Its items are given out again to raters.'}
          </p>
        </Confirm>
      )}
    </Page>
  );
}

function isEmpty({ items }: Queue): boolean {
  if (!items) return false;
  const { rated, gold, calibration } = items;
  return rated.pending + rated.open + rated.done + rated.dropped + gold + calibration === 0;
}

function State({ queue: { reviews, items, name } }: { queue: Queue }) {
  const { done, needed } = reviews ?? { done: 0, needed: 0 };
  return (
    <Panel title="Progress">
      {needed > 0 && <progress class="wide" value={done} max={needed} aria-label={`Reviews of ${name}`} />}
      <Stats>
        <Stat
          label="Reviews"
          value={`${formatCount(done)} of ${formatCount(needed)}`}
          hint={needed > 0 ? formatPercent(done / needed) : null}
        />
        <Stat label="Done" value={formatCount(items?.rated.done ?? 0)} />
        <Stat label="Open" value={formatCount(items?.rated.open ?? 0)} />
        <Stat label="Pending" value={formatCount(items?.rated.pending ?? 0)} />
        <Stat label="Dropped" value={formatCount(items?.rated.dropped ?? 0)} />
        <Stat label="Gold" value={formatCount(items?.gold ?? 0)} />
        {items && items.calibration > 0 && <Stat label="Calibration" value={formatCount(items.calibration)} />}
      </Stats>
    </Panel>
  );
}
