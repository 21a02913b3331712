// What a dry run found: first what decides whether to start the round, and the rest behind a click.

import './rounds.css';
import type { Round } from '../../api.ts';
import { Prose } from '../parts/prose.tsx';

type Line = NonNullable<Round['preview']>[number];

const FIRST = ['decision', 'gate', 'time', 'pairs'];

export function PreviewLines({ lines }: { lines: Line[] }) {
  const first = FIRST.flatMap((sought) => lines.find(({ name }) => name === sought) ?? []);
  const rest = lines.filter(({ name }) => !FIRST.includes(name));
  return (
    <>
      <LineList lines={first} />
      {rest.length > 0 && (
        <details>
          <summary>Details</summary>
          <LineList lines={rest} />
        </details>
      )}
    </>
  );
}

function LineList({ lines }: { lines: Line[] }) {
  return (
    <dl class="lines">
      {lines.map(({ name, text }) => (
        <div key={name}>
          <dt>{name[0]!.toUpperCase() + name.slice(1)}</dt>
          <dd>
            <Prose text={name === 'decision' ? toDecision(text) : text} />
          </dd>
        </div>
      ))}
    </dl>
  );
}

/** As who starts it by a click would say it. The trainer names the command. */
function toDecision(text: string): string {
  const decision = text.replace(
    '`attune train` would run it; the schedule waits:',
    'it would run. The schedule waits:',
  );
  return decision[0]!.toUpperCase() + decision.slice(1);
}
