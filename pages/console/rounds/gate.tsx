// The checks of the gate, each with what was measured, its interval and its bound, drawn to scale.

import type { Round } from '../../api.ts';
import { formatNumber } from '../format.ts';
import { Interval } from '../parts/interval.tsx';
import { Badge, Panel } from '../parts/page.tsx';

type Gate = NonNullable<Round['gate']>;
type Check = Gate['checks'][number];

const NAMES: Record<Check['name'], string> = {
  improvement: 'Agrees more with the raters',
  kl: 'Distance from the root (KL)',
  chosen_drop: 'Chosen responses not less likely',
  length: 'Length of its responses',
  repetition: 'Repetition',
  finite: 'Numbers are finite',
};

/** What was measured, beside what it is held to. */
function describeBound({ name, measured, bound }: Check): string {
  const value = formatNumber(measured!);
  if (name === 'improvement') return `${value}, above ${bound}`;
  return name === 'length' ? `${value}, from ${formatNumber(1 / bound!, 2)} to ${bound}` : `${value}, at most ${bound}`;
}

/** `said`: what the page says above it, which is not said twice. */
export function GateReport({ gate, said }: { gate: Gate; said: string | null }) {
  return (
    <Panel
      title="Gate"
      hint={gate.pass ? 'every check passed: the policy may replace the active one' : 'it was refused'}
    >
      <ul class="checks">
        {gate.checks.map((check) => (
          <li key={check.name}>
            <div class="check-head">
              <h3>{NAMES[check.name]}</h3>
              <Badge tone={check.pass ? 'good' : 'bad'}>{check.pass ? 'Passed' : 'Not passed'}</Badge>
            </div>
            {check.measured !== null && check.bound !== null && (
              <>
                <p class="measured">{describeBound(check)}</p>
                <Interval
                  value={check.measured}
                  interval={check.interval}
                  bounds={check.name === 'length' ? [1 / check.bound, check.bound] : [check.bound]}
                  tone={check.pass ? 'good' : 'bad'}
                />
              </>
            )}
            {!said?.includes(check.message) && <p class="quiet">{check.message}</p>}
          </li>
        ))}
      </ul>
    </Panel>
  );
}
