// attune queues quality: prints how far raters agree with each other, with known answers and with themselves.

import type { Database } from '../shared/database/connect.ts';
import { type Measure, measureQuality } from '../shared/queues/quality.ts';
import { printTable } from './print-table.ts';

const COLUMNS = ['rater', 'votes', 'agrees', 'gold', 'repeats', 'seconds', 'chose A', 'state'];

export async function printQuality(db: Database, queueId: string): Promise<void> {
  const { votes, items, agreement, gold, consistency, raters, split } = await measureQuality(db, queueId);
  console.log(`votes       ${votes.total}, and ${votes.skips} skips`);
  console.log(`items       ${items.voted} voted on, ${split.count} of them split; ${items.dropped} dropped`);
  console.log(`choice      ${formatMeasure(agreement.choice)}  (Krippendorff’s alpha)`);
  console.log(`strength    ${formatMeasure(agreement.strength)}  (Krippendorff’s alpha)`);
  console.log(`gold        ${formatMeasure(gold.accuracy)}, kappa ${formatMeasure(gold.kappa)}`);
  console.log(`repeats     ${formatMeasure(consistency)}`);
  if (raters.length === 0) return;
  console.log('');
  printTable(
    COLUMNS,
    raters.map(({ rater, votes, agreement, gold, consistency, seconds, side_bias, paused }) => [
      rater,
      String(votes),
      formatMeasure(agreement),
      formatMeasure(gold.accuracy),
      formatMeasure(consistency),
      seconds.value === null ? '-' : seconds.value.toFixed(1),
      formatMeasure(side_bias),
      paused ? `paused: ${paused.reason ?? 'no reason given'}` : 'rates',
    ]),
  );
}

/** `0.62 [0.48, 0.74]` */
function formatMeasure({ value, interval }: Measure): string {
  if (value === null) return '-';
  return interval ? `${value.toFixed(2)} [${interval.low.toFixed(2)}, ${interval.high.toFixed(2)}]` : value.toFixed(2);
}
