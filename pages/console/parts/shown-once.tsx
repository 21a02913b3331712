// A secret that the API shows once: a new key, or the link of an invitation.

import type { ComponentChildren } from 'preact';
import { Command } from './command.tsx';
import { Modal } from './modal.tsx';

type ShownOnceProps = { title: string; secret: string; label: string; onClose(): void; children: ComponentChildren };

export function ShownOnce({ title, secret, label, onClose, children }: ShownOnceProps) {
  return (
    <Modal title={title} onClose={onClose}>
      {(close) => (
        <>
          <div class="content form">
            {children}
            <Command text={secret} label={label} />
          </div>
          <div class="actions end">
            <button type="button" class="primary" onClick={close}>
              Done
            </button>
          </div>
        </>
      )}
    </Modal>
  );
}
