// What the round did to what earlier rounds had taught: held-out pairs of theirs, before and after.

import type { Round } from '../../api.ts';
import { formatNumber, formatPercent } from '../format.ts';
import { Interval } from '../parts/interval.tsx';
import { IdLink } from '../parts/links.tsx';
import { Badge, Panel } from '../parts/page.tsx';
import { type Column, Table } from '../parts/table.tsx';

type Earlier = NonNullable<Round['earlier_rounds']>[number];

const COLUMNS: Column<Earlier>[] = [
  { title: 'Earlier round', cell: ({ round }) => <IdLink kind="rounds" id={round} /> },
  { title: 'Pairs', isNumber: true, cell: ({ pairs }) => pairs },
  {
    title: 'Accuracy',
    isNumber: true,
    cell: ({ before, after }) =>
      `${formatPercent(before['rewards/accuracies'])} → ${formatPercent(after['rewards/accuracies'])}`,
  },
  {
    title: 'Change of the margin, nats',
    cell: ({ margin_change: { value, interval }, forgotten }) => (
      <Interval value={value} interval={interval} bounds={[0]} tone={forgotten ? 'bad' : 'good'} />
    ),
  },
  { title: '', isNumber: true, cell: ({ margin_change: { value } }) => formatNumber(value) },
  {
    title: 'Kept',
    cell: ({ forgotten }) => <Badge tone={forgotten ? 'bad' : 'good'}>{forgotten ? 'Forgotten' : 'Kept'}</Badge>,
  },
];

export function EarlierRounds({ rounds }: { rounds: Earlier[] }) {
  return (
    <Panel title="Earlier rounds" hint="whether this round forgot what they had learned">
      <Table
        caption="Each earlier round, before and after"
        columns={COLUMNS}
        rows={rounds}
        rowKey={({ round }) => round}
      />
    </Panel>
  );
}
