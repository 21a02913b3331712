// How a round learned, step by step: what it was trained on as a line, and held-out pairs as dots.

import type { paths } from '../../api-types.ts';
import { formatPercent } from '../format.ts';
import { Lines, type Series } from '../parts/lines.tsx';
import { Panel } from '../parts/page.tsx';

export type StepMetrics =
  paths['/v1/rounds/{id}/metrics']['get']['responses'][200]['content']['application/json']['data'][number];

export function TrainingPlots({ steps }: { steps: StepMetrics[] }) {
  const trained = (metric: string, name = 'Training batch'): Series => ({
    name,
    points: listPoints(steps, 'train', metric),
    colour: 5,
  });
  const heldOut = (metric: string, name = 'Held-out pairs'): Series => ({
    name,
    points: listPoints(steps, 'held_out', metric),
    colour: 1,
    look: 'dots',
  });
  const x = { name: 'step' };
  const kl = listPoints(steps, 'held_out', 'objective/kl');
  return (
    <div class="columns">
      <Panel title="Loss" hint="the objective, lower is better">
        <Lines name="Loss" x={x} series={[trained('loss'), heldOut('loss')]} />
      </Panel>
      <Panel title="Margins" hint="log-ratio of the chosen response less that of the rejected one, in nats">
        <Lines
          name="Margins"
          x={x}
          series={[trained('rewards/margins'), heldOut('rewards/margins')]}
          marks={[{ at: 0, label: '' }]}
        />
      </Panel>
      <Panel title="Accuracy" hint="share of pairs with a positive margin; while all margins are 0, chance">
        <Lines
          name="Accuracy"
          x={x}
          y={{ min: 0, max: 1, format: formatPercent }}
          series={[trained('rewards/accuracies'), heldOut('rewards/accuracies')]}
          marks={[{ at: 0.5, label: 'chance' }]}
        />
      </Panel>
      <Panel title="Log-ratios to the reference" hint="of held-out responses, in nats; chosen should not sink">
        <Lines
          name="Log-ratios to the reference"
          x={x}
          series={[
            { ...heldOut('rewards/chosen', 'Chosen'), colour: 'good' },
            { ...heldOut('rewards/rejected', 'Rejected'), colour: 3 },
          ]}
          marks={[{ at: 0, label: 'the reference' }]}
        />
      </Panel>
      {kl.length > 1 && (
        <Panel title="KL to the root" hint="of its own samples, in nats per response">
          <Lines name="KL to the root" x={x} series={[{ name: 'KL', points: kl }]} />
        </Panel>
      )}
    </div>
  );
}

function listPoints(steps: StepMetrics[], split: string, metric: string): [number, number][] {
  return steps.flatMap((step) => {
    const value = metric === 'rewards/accuracies' ? getAccuracy(step) : step.metrics[metric];
    return step.split === split && value !== undefined ? [[step.step_number, value] as [number, number]] : [];
  });
}

/** A policy that is still its reference has no margin on any pair: neither response is likelier, and a tie counts half. */
function getAccuracy({ metrics }: StepMetrics): number | undefined {
  const accuracy = metrics['rewards/accuracies'];
  return accuracy === 0 && metrics['rewards/margins'] === 0 ? 0.5 : accuracy;
}
