// A secret that the API shows once: a new key, or the link of an invitation.

import type { ComponentChildren } from 'preact';
import { Command } from './command.tsx';
import { Notice } from './notice.tsx';

type ShownOnceProps = { title: string; secret: string; label: string; onClose(): void; children: ComponentChildren };

export function ShownOnce({ title, secret, label, onClose, children }: ShownOnceProps) {
  return (
    <Notice title={title} onClose={onClose}>
      {children}
      <Command text={secret} label={label} />
    </Notice>
  );
}
