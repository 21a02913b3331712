// The votes that a canary is decided by, and those that are not counted.

import type { Canary } from '../../api.ts';
import { formatCount, formatNumber, formatPercent } from '../format.ts';
import { Interval } from '../parts/interval.tsx';
import { Panel, Stat, Stats } from '../parts/page.tsx';
import { nameCandidate } from './sides.tsx';

export function Votes({ canary }: { canary: Canary }) {
  const { votes, evidence } = canary;
  const { win_rate: rate } = evidence;
  const aside = [
    votes.ties > 0 && `${votes.ties} ${votes.ties === 1 ? 'tie' : 'ties'}`,
    votes.both_bad > 0 && `${votes.both_bad} both bad`,
    votes.repeated > 0 && `${votes.repeated} on comparisons of which another vote counts`,
    votes.over_limit > 0 && `${votes.over_limit} of raters who had given their share`,
  ].filter(Boolean);
  // The vote that decided may not be the last one.
  const when = canary.state === 'running' ? '' : 'after all votes; ';
  const tone = rate && rate.interval.low > 0.5 ? 'good' : rate && rate.interval.high < 0.5 ? 'bad' : 'waiting';
  return (
    <Panel title="Votes" hint="blind: raters do not know which side is which">
      <Stats>
        <Stat label={`For the ${nameCandidate(canary)}`} value={formatCount(votes.wins)} />
        <Stat label="For the baseline" value={formatCount(votes.losses)} />
        <Stat label="Raters" value={formatCount(votes.raters)} />
        <Stat
          label="E₊"
          value={formatNumber(10 ** evidence.better)}
          hint={`${when}promoted at ${formatE(evidence.threshold)}`}
        />
        <Stat
          label="E₋"
          value={formatNumber(10 ** evidence.worse)}
          hint={`${when}rolled back at ${formatE(evidence.threshold)}`}
        />
      </Stats>
      {rate && (
        <div class="win-rate">
          <p>
            Win rate {formatPercent(rate.value, 1)}, between {formatPercent(rate.interval.low, 1)} and{' '}
            {formatPercent(rate.interval.high, 1)} with 95% confidence at any time
          </p>
          <Interval value={rate.value} interval={rate.interval} bounds={[0.5]} tone={tone} format={formatPercent} />
        </div>
      )}
      {aside.length > 0 && <p class="quiet small">Not counted: {aside.join(', ')}.</p>}
    </Panel>
  );
}

const formatE = (log10: number) => formatNumber(10 ** log10);
