// What is done with a key: created and shown once, given another secret, and revoked.

import type { Dispatch, StateUpdater } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import { Confirm } from '../parts/confirm.tsx';
import { Time } from '../parts/links.tsx';
import { ShownOnce } from '../parts/shown-once.tsx';
import { CreateKey } from './create-key.tsx';
import type { Key, KeyWithText } from './words.ts';

export type KeyDialog =
  | { kind: 'create' }
  | { kind: 'rotate' | 'revoke'; key: Key }
  | { kind: 'shown'; key: KeyWithText };

type DialogsProps = { dialog: KeyDialog | null; open: Dispatch<StateUpdater<KeyDialog | null>>; reload(): void };

export function KeyDialogs({ dialog, open, reload }: DialogsProps) {
  if (!dialog) return null;
  // The next one may be open already when this one has closed.
  const close = () => open((shown) => (shown === dialog ? null : shown));
  const show = (key: KeyWithText) => {
    reload();
    open({ kind: 'shown', key });
  };
  if (dialog.kind === 'create') return <CreateKey onClose={close} onCreated={show} />;
  const { key } = dialog;
  const path = { params: { path: { id: key.id } } };
  if (dialog.kind === 'shown')
    return (
      <ShownOnce title={`The key ${key.name}`} secret={dialog.key.key} label="Copy the key" onClose={close}>
        <p>It is shown this once. Keep it where your secrets are; a lost one can be rotated.</p>
      </ShownOnce>
    );
  if (dialog.kind === 'rotate')
    return (
      <Confirm
        title={`Rotate ${key.name}`}
        action="Rotate"
        run={async () => show(await ask(api.POST('/v1/keys/{id}/rotate', path)))}
        onClose={close}
      >
        <p>It gets a new secret, which is shown once. The one before stops working within a second.</p>
      </Confirm>
    );
  return (
    <Confirm
      title={`Revoke ${key.name}`}
      action="Revoke for good"
      isDangerous
      run={async () => {
        await ask(api.DELETE('/v1/keys/{id}', path));
        reload();
      }}
      onClose={close}
    >
      <p>
        Every request with it is refused within a second
        {key.last_used_at ? (
          <>
            ; it was last used <Time at={key.last_used_at} />
          </>
        ) : (
          ''
        )}
        . This cannot be undone.
      </p>
    </Confirm>
  );
}
