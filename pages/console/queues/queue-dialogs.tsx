// A queue is created, or its settings are changed.

import { useState } from 'preact/hooks';
import { api, ask, type Queue } from '../../api.ts';
import { Confirm } from '../parts/confirm.tsx';
import { findChanges, NEW_QUEUE, toBody, toDraft } from './queue-draft.ts';
import { QueueForm } from './queue-form.tsx';

export function CreateQueue({ onClose, onCreated }: { onClose(): void; onCreated(id: string): void }) {
  const [draft, setDraft] = useState(NEW_QUEUE);
  const create = async () => {
    onCreated((await ask(api.POST('/v1/queues', { body: toBody(draft) }))).id);
  };
  return (
    <Confirm title="New queue" action="Create the queue" isWide run={create} onClose={onClose}>
      <QueueForm draft={draft} onChange={(changes) => setDraft((before) => ({ ...before, ...changes }))} />
    </Confirm>
  );
}

export function EditQueue({ queue, onClose, onChange }: { queue: Queue; onClose(): void; onChange(): void }) {
  const [before] = useState(() => toDraft(queue));
  const [draft, setDraft] = useState(before);
  const changes = findChanges(before, draft);
  const save = async () => {
    if (Object.keys(changes).length === 0) return;
    await ask(api.POST('/v1/queues/{id}', { params: { path: { id: queue.id } }, body: changes }));
    onChange();
  };
  return (
    <Confirm title={`Settings of ${queue.name}`} action="Save the settings" isWide run={save} onClose={onClose}>
      <QueueForm draft={draft} onChange={(changes) => setDraft((before) => ({ ...before, ...changes }))} />
      <p class="quiet consequences">{describe(changes)}</p>
    </Confirm>
  );
}

function describe(changes: Partial<ReturnType<typeof toBody>>): string {
  const said = [
    changes.reviews !== undefined &&
      `Items with ${changes.reviews} reviews or more count as done, others are given out again.`,
    changes.guidelines !== undefined &&
      'Raters read the new guidelines before their next vote; earlier votes keep theirs.',
    changes.pairing !== undefined && 'Items that have their responses keep them.',
  ].filter(Boolean);
  return said.length > 0 ? said.join(' ') : 'Items that are given out from now on follow the settings.';
}
