// What a round comes to in numbers, what a dry run found, and the settings of either.

import type { Round } from '../../api.ts';
import { formatCount, formatNumber, formatPercent, formatSeconds } from '../format.ts';
import { Panel, Stat, Stats } from '../parts/page.tsx';
import { PolicyLink } from '../parts/policy-link.tsx';
import { getPairs } from './origins.tsx';
import { PreviewLines } from './preview-lines.tsx';

export function Summary({ round, now }: { round: Round; now: number }) {
  const pairs = getPairs(round);
  const { metrics, started_at: started } = round;
  const seconds = started ? (round.finished_at ?? now) - started : null;
  return (
    <Stats>
      {round.policy && <Stat label="Policy" value={<PolicyLink id={round.policy} />} />}
      {round.parent && <Stat label="Trained from" value={<PolicyLink id={round.parent} />} />}
      {pairs && (
        <Stat label="Pairs" value={formatCount(pairs.train)} hint={`${formatCount(pairs.held_out)} held out`} />
      )}
      {metrics?.['rewards/accuracies'] !== undefined && (
        <Stat
          label="Accuracy"
          value={formatPercent(metrics['rewards/accuracies'], 1)}
          hint={describe(round, 'rewards/accuracies', (value) => formatPercent(value))}
        />
      )}
      {metrics?.['rewards/margins'] !== undefined && (
        <Stat
          label="Margin"
          value={`${formatNumber(metrics['rewards/margins'])} nats`}
          hint={describe(round, 'rewards/margins', formatNumber)}
        />
      )}
      {metrics?.['objective/kl'] !== undefined && (
        <Stat label="KL to the root" value={`${formatNumber(metrics['objective/kl'])} nats`} hint="per response" />
      )}
      {seconds !== null && <Stat label="Took" value={formatSeconds(seconds)} />}
    </Stats>
  );
}

function describe(round: Round, metric: string, format: (value: number) => string): string | undefined {
  const interval = round.gate?.intervals[metric];
  return interval ? `95%: ${format(interval.low)} to ${format(interval.high)}` : undefined;
}

export function Preview({ lines }: { lines: NonNullable<Round['preview']> }) {
  return (
    <Panel title="What a round would do">
      <PreviewLines lines={lines} />
    </Panel>
  );
}

export function RoundSettings({ round }: { round: Round }) {
  const { method } = round;
  const settings = method.type === 'dil' ? method.dil : method.reward;
  return (
    <details class="panel">
      <summary>Settings</summary>
      <dl class="lines settings">
        {Object.entries(settings).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{Array.isArray(value) ? value.join(', ') : String(value ?? '–')}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
