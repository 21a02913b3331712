// What each policy served over time, by GET /v1/traffic.

import { useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import type { paths } from '../../api-types.ts';
import { formatNumber, formatSeconds } from '../format.ts';
import { Segments } from '../parts/field.tsx';
import { Lines, type Series } from '../parts/lines.tsx';
import { Panel } from '../parts/page.tsx';
import { usePolicyNames } from '../parts/policy-link.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { useAsk } from '../use-ask.ts';

type Traffic = paths['/v1/traffic']['get']['responses'][200]['content']['application/json'];
type Step = Traffic['data'][number];

const SPANS: [minutes: string, name: string][] = [
  ['60', 'Hour'],
  ['1440', 'Day'],
  ['10080', 'Week'],
  ['43200', '30 days'],
];
const REFRESH_MS = 10_000;
/** Those that served most have lines. */
const MAX_POLICIES = 5;

export function TrafficPlots({ active }: { active: string | undefined }) {
  const [minutes, setMinutes] = useState(60);
  const { data, error, reload } = useAsk(
    () => ask(api.GET('/v1/traffic', { params: { query: { minutes } } })),
    String(minutes),
    REFRESH_MS,
  );
  return (
    <section class="traffic" aria-label="Traffic">
      <div class="section-head">
        <h2>Traffic</h2>
        <Segments
          label="Time shown"
          value={String(minutes)}
          options={SPANS}
          onChange={(chosen) => setMinutes(Number(chosen))}
        />
      </div>
      {!data && (error ? <Failure title="It cannot be read" error={error} retry={reload} /> : <Loading />)}
      {data && data.data.length === 0 && (
        <Panel title="Nothing was served" class="bare">
          <Empty
            title="Nothing was served in this time"
            text="Requests appear here within a minute."
            command={`curl ${location.origin}/v1/completions -H 'content-type: application/json' \\\n  -d '{"prompt": "Once upon a time", "max_tokens": 60}'`}
          />
        </Panel>
      )}
      {data && data.data.length > 0 && <Plots traffic={data} active={active} minutes={minutes} />}
    </section>
  );
}

type Span = { step: number; minutes: number };

function Plots({ traffic, active, minutes }: { traffic: Traffic; active: string | undefined; minutes: number }) {
  const { data, step_seconds: step } = traffic;
  const policies = listPolicies(data);
  const names = usePolicyNames(...policies);
  const name = (policy: string) => (policy === active ? `${names(policy)}, active` : names(policy));
  const toSeries = (read: (row: Step) => number | null, missing: number | null): Series[] =>
    policies.map((policy) => ({
      name: name(policy),
      points: listPoints(data, policy, { step, minutes }, read, missing),
    }));
  const x = { name: 'time', isTime: true };
  return (
    <div class="columns">
      <Panel title="Tokens per second">
        <Lines
          name="Tokens per second"
          x={x}
          y={{ min: 0 }}
          series={toSeries((row) => row.completion_tokens / step, 0).map((one) => ({ ...one, look: 'area' }))}
        />
      </Panel>
      <Panel title="Time to first token">
        <Lines
          name="Time to first token"
          x={x}
          y={{ min: 0, format: formatSeconds }}
          series={toSeries((row) => row.first_token_seconds, null)}
        />
      </Panel>
      <Panel title="Requests per minute">
        <Lines
          name="Requests per minute"
          x={x}
          y={{ min: 0 }}
          series={toSeries((row) => (row.requests * 60) / step, 0)}
        />
      </Panel>
      <Panel title="Errors per minute">
        <Lines
          name="Errors per minute"
          x={x}
          y={{ min: 0, format: (value) => formatNumber(value, 2) }}
          series={toSeries((row) => (row.errors * 60) / step, 0)}
        />
      </Panel>
    </div>
  );
}

function listPolicies(steps: Step[]): string[] {
  const requests = new Map<string, number>();
  for (const row of steps) requests.set(row.policy, (requests.get(row.policy) ?? 0) + row.requests);
  const most = [...requests].sort(([, a], [, b]) => b - a).slice(0, MAX_POLICIES);
  return most.map(([policy]) => policy).sort();
}

/** A policy without a row served nothing in that step. Until now, but for the step that is not over. */
function listPoints(
  steps: Step[],
  policy: string,
  { step, minutes }: Span,
  read: (row: Step) => number | null,
  missing: number | null,
): [number, number | null][] {
  const rows = new Map(steps.filter((row) => row.policy === policy).map((row) => [row.at, row]));
  const end = Math.floor(Date.now() / 1000 / step) * step - step;
  const last = Math.max(end, ...steps.map(({ at }) => at));
  const first = last - Math.floor((minutes * 60) / step) * step + step;
  const points: [number, number | null][] = [];
  for (let at = first; at <= last; at += step) {
    const row = rows.get(at);
    points.push([at, row ? read(row) : missing]);
  }
  return points;
}
