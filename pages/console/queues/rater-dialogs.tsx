// What is done with a rater: created, invited by a link, activated and deactivated.

import { type Dispatch, type StateUpdater, useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import type { components } from '../../api-types.ts';
import { formatTime } from '../format.ts';
import { Confirm } from '../parts/confirm.tsx';
import { ChooseField, Field, NameField } from '../parts/field.tsx';
import { ShownOnce } from '../parts/shown-once.tsx';
import { splitList } from './queue-draft.ts';

export type Rater = components['schemas']['Rater'];
type Invitation = components['schemas']['Invitation'];

const EXPIRIES = [
  [24, 'in a day'],
  [72, 'in three days'],
  [168, 'in a week'],
] as const;

export type RaterDialog =
  | { kind: 'create' }
  | { kind: 'invite' | 'turn'; rater: Rater }
  | { kind: 'link'; rater: Rater; link: Invitation };

type DialogsProps = { dialog: RaterDialog | null; open: Dispatch<StateUpdater<RaterDialog | null>>; reload(): void };

export function RaterDialogs({ dialog, open, reload }: DialogsProps) {
  if (!dialog) return null;
  // The next one may be open already when this one has closed.
  const close = () => open((shown) => (shown === dialog ? null : shown));
  if (dialog.kind === 'create')
    return (
      <CreateRater
        onClose={close}
        onCreated={(rater) => {
          reload();
          open({ kind: 'invite', rater });
        }}
      />
    );
  const { rater } = dialog;
  if (dialog.kind === 'invite')
    return (
      <Invite key={rater.id} rater={rater} onClose={close} onInvited={(link) => open({ kind: 'link', rater, link })} />
    );
  if (dialog.kind === 'link')
    return (
      <ShownOnce title={`The link for ${rater.name}`} secret={dialog.link.url} label="Copy the link" onClose={close}>
        <p>
          It signs one browser in as {rater.name}, once, until {formatTime(dialog.link.expires_at)}. It is shown this
          once; a new one can be made at any time.
        </p>
      </ShownOnce>
    );
  const { active } = rater;
  return (
    <Confirm
      title={`${active ? 'Deactivate' : 'Activate'} ${rater.name}`}
      action={active ? 'Deactivate' : 'Activate'}
      isDangerous={active}
      run={async () => {
        await ask(api.POST('/v1/raters/{id}', { params: { path: { id: rater.id } }, body: { active: !active } }));
        reload();
      }}
      onClose={close}
    >
      <p>
        {active
          ? `${rater.name} is signed out within a second, and cannot sign in. Votes that were given stay.`
          : `${rater.name} can sign in again with a new link.`}
      </p>
    </Confirm>
  );
}

function CreateRater({ onClose, onCreated }: { onClose(): void; onCreated(rater: Rater): void }) {
  const [name, setName] = useState('');
  const [skills, setSkills] = useState('');
  const create = async () => {
    onCreated(await ask(api.POST('/v1/raters', { body: { name, skills: splitList(skills) } })));
  };
  return (
    <Confirm title="New rater" action="Create the rater" run={create} onClose={onClose}>
      <div class="form">
        <NameField value={name} onChange={setName} />
        <Field label="Skills" hint="separated by commas: what queues choose raters by, such as languages and subjects">
          <input value={skills} onInput={(event) => setSkills(event.currentTarget.value)} />
        </Field>
      </div>
    </Confirm>
  );
}

function Invite({ rater, onClose, onInvited }: { rater: Rater; onClose(): void; onInvited(link: Invitation): void }) {
  const [hours, setHours] = useState<number>(72);
  const invite = async () => {
    const path = { id: rater.id };
    onInvited(
      await ask(api.POST('/v1/raters/{id}/invitations', { params: { path }, body: { expires_in_hours: hours } })),
    );
  };
  return (
    <Confirm title={`Invite ${rater.name}`} action="Make the link" run={invite} onClose={onClose}>
      <div class="form">
        <p>Whoever opens the link first votes as {rater.name}. Send it to nobody else.</p>
        <ChooseField
          label="The link expires"
          value={hours}
          options={EXPIRIES}
          onChange={(chosen) => setHours(chosen)}
        />
      </div>
    </Confirm>
  );
}
