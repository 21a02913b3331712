// Whose the pairs of a round are: by source, by rater and by age, and which were left out.

import type { Round } from '../../api.ts';
import { formatPercent } from '../format.ts';
import { type Bar, Bars } from '../parts/bars.tsx';
import { Panel } from '../parts/page.tsx';
import { findLabel, SOURCES } from '../preferences/words.tsx';
import { useRaterNames } from '../use-rater-names.ts';

/** What the API says of pairs, which its schema leaves open. */
type Pairs = {
  train: number;
  new: number;
  replay: number;
  held_out: number;
  held_out_prompts: number;
  tokens: number;
  ages: Record<string, number>;
  left_out: Record<string, number>;
};

export const getPairs = (round: Round) => round.pairs as Pairs | null;

export function Origins({ round }: { round: Round }) {
  const nameRater = useRaterNames();
  const { origins } = round;
  const pairs = getPairs(round);
  if (!pairs) return null;
  const leftOut = toBars(pairs.left_out).filter(({ count }) => count > 0);
  return (
    <Panel
      title="Pairs"
      hint={`${pairs.new} new and ${pairs.replay} of earlier rounds to train on, ${pairs.held_out} held out`}
    >
      <div class="columns narrow">
        <div>
          <h3>To train on, by source</h3>
          <Bars
            bars={toBars(origins?.sources ?? {}).map((bar) => ({ ...bar, name: findLabel(SOURCES, bar.name) }))}
            empty="No pairs."
          />
        </div>
        <div>
          <h3>To train on, by rater</h3>
          <Bars
            bars={(origins?.raters ?? []).map(({ rater, pairs: count, capped, disagreement }) => ({
              name: nameRater(rater),
              count,
              hint: [
                capped > 0 && `${capped} left out: too large a share`,
                disagreement !== null && `${formatPercent(disagreement)} against most others`,
              ]
                .filter(Boolean)
                .join('; '),
            }))}
            empty="Its raters are of other tenants."
          />
        </div>
        <div>
          <h3>{pairs.held_out > 0 ? 'With those held out, by age' : 'By age'}</h3>
          <Bars
            bars={Object.entries(pairs.ages).map(([age, count]) => ({ name: describeAge(age), count }))}
            empty="No pairs."
          />
        </div>
        {leftOut.length > 0 && (
          <div>
            <h3>Left out</h3>
            <Bars bars={leftOut} empty="None." />
          </div>
        )}
      </div>
    </Panel>
  );
}

function toBars(counts: Record<string, number>): Bar[] {
  const bars = Object.entries(counts).map(([name, count]) => ({ name: name.replaceAll('_', ' '), count }));
  return bars.sort((a, b) => b.count - a.count);
}

/** In policies: how many came between the one that sampled the responses and the active one. */
function describeAge(age: string): string {
  if (age === '0') return 'of the policy before it';
  if (age === '1') return 'one policy older';
  return /^\d+$/.test(age) ? `${age} policies older` : 'of no known policy';
}
