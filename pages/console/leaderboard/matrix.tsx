// How often each policy wins against each other one: a row against a column.

import { formatPercent } from '../format.ts';
import { downloadCsv } from '../parts/download.ts';
import { Panel } from '../parts/page.tsx';
import { Legend } from '../parts/token-map.tsx';
import { type Leaderboard, namePolicy } from './words.ts';

const STEPS = 4;

export function Matrix({ board }: { board: Leaderboard }) {
  const ids = board.policies.map(({ policy }) => policy);
  const pairs = findPairs(board);
  const find = (one: string, other: string) => pairs.get(`${one} ${other}`);
  const download = () =>
    downloadCsv('win rates', {
      columns: ['policy', ...ids],
      rows: ids.map((one) => [one, ...ids.map((other) => find(one, other)?.rate ?? null)]),
    });
  return (
    <Panel
      title="Win rates"
      actions={
        <button type="button" class="plain small" onClick={download}>
          CSV
        </button>
      }
    >
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it */}
      <section class="table matrix" tabIndex={0} aria-label="Win rates of pairs">
        <table>
          <caption class="hidden">Win rates of the policy of a row against that of a column</caption>
          <thead>
            <tr>
              <td />
              {ids.map((id) => (
                <th key={id} scope="col" class="number">
                  {namePolicy(board, id)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {ids.map((one) => (
              <tr key={one}>
                <th scope="row">{namePolicy(board, one)}</th>
                {ids.map((other) => {
                  const pair = find(one, other);
                  return (
                    <td key={other} class={`number ${pair ? toTone(pair.rate) : 'none'}`} title={pair?.words}>
                      {pair ? formatPercent(pair.rate) : '–'}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      <Legend
        name="Colours of the win rates"
        steps={[
          ['less-3', 'the row loses'],
          ['', 'even'],
          ['more-3', 'the row wins'],
        ]}
      />
    </Panel>
  );
}

/** Both ways round. */
function findPairs({ pairs }: Leaderboard): Map<string, { rate: number; words: string }> {
  return new Map(
    pairs.flatMap(({ policy, other, wins, losses, ties, win_rate: rate }) => [
      [`${policy} ${other}`, { rate, words: `${wins} won, ${losses} lost, ${ties} tied` }] as const,
      [`${other} ${policy}`, { rate: 1 - rate, words: `${losses} won, ${wins} lost, ${ties} tied` }] as const,
    ]),
  );
}

function toTone(rate: number): string {
  const step = Math.round(2 * STEPS * Math.abs(rate - 0.5));
  return step === 0 ? '' : `${rate > 0.5 ? 'more' : 'less'}-${step}`;
}
