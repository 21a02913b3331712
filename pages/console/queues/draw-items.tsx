// Prompts of completions that were served, drawn into a queue.

import { useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import { formatCount } from '../format.ts';
import { Confirm } from '../parts/confirm.tsx';
import { Field, NumberField } from '../parts/field.tsx';
import type { QueueDialogProps } from './add-items.tsx';

const DAY = 86_400;

export function DrawItems({ queue, onClose, onChange }: QueueDialogProps) {
  const [count, setCount] = useState(50);
  const [days, setDays] = useState(7);
  const [user, setUser] = useState('');
  const [report, setReport] = useState<{ found: number; sampled: number; duplicates: number } | null>(null);
  const draw = async () => {
    const since = Math.max(0, Math.floor(Date.now() / 1000) - days * DAY);
    const drawn = await ask(
      api.POST('/v1/queues/{id}/draw', {
        params: { path: { id: queue.id } },
        body: { count, since, ...(user === '' ? {} : { user }) },
      }),
    );
    onChange();
    if (drawn.sampled > 0) return;
    setReport(drawn);
    throw new Error(
      drawn.found === 0
        ? 'No completion matches'
        : `Each of the ${formatCount(drawn.found)} prompts is in the queue already`,
    );
  };
  return (
    <Confirm title="Draw from traffic" action={`Draw ${formatCount(count || 0)}`} run={draw} onClose={onClose}>
      <div class="form">
        <p class="quiet">
          Prompts of stored completions, sampled evenly, each once, and redacted as the server’s REDACT says.
        </p>
        <div class="row">
          <NumberField label="Prompts" value={count} min={1} max={10_000} onChange={setCount} />
          <NumberField label="Of the last days" value={days} min={1} max={36_500} onChange={setDays} />
          <Field label="Of the user" hint="as the backend names it; default: all">
            <input maxLength={512} value={user} onInput={(event) => setUser(event.currentTarget.value)} />
          </Field>
        </div>
        {report && <p class="quiet">{`${formatCount(report.duplicates)} were there already.`}</p>}
      </div>
    </Confirm>
  );
}
