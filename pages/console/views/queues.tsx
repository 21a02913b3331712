// Queues, whoever rates in them, and one queue.

import '../queues/queues.css';
import { Segments } from '../parts/field.tsx';
import { Page } from '../parts/page.tsx';
import { QueueList } from '../queues/queue-list.tsx';
import { QueueView } from '../queues/queue-view.tsx';
import { RaterList } from '../queues/rater-list.tsx';
import { mayUse, type ViewProps } from '../session.ts';
import { useFilters } from '../use-filters.ts';

export default function View({ session, id }: ViewProps) {
  const { values, set } = useFilters('show');
  const mayChange = mayUse(session, ['operate']);
  if (id !== null) return <QueueView key={id} id={id} mayChange={mayChange} />;
  const isRaters = values.show === 'raters';
  return (
    <Page
      title="Raters and queues"
      text="A queue gives each of its prompts to exactly as many raters as it needs, blind, at /rate."
      actions={
        <Segments
          label="Show"
          value={isRaters ? 'raters' : 'queues'}
          options={[
            ['queues', 'Queues'],
            ['raters', 'Raters'],
          ]}
          onChange={(show) => set({ show: show === 'raters' ? show : '' })}
        />
      }
    >
      {isRaters ? <RaterList mayChange={mayChange} /> : <QueueList mayChange={mayChange} />}
    </Page>
  );
}
