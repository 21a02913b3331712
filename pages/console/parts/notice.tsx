// A dialog that only shows something, with a button that closes it.

import type { ComponentChildren } from 'preact';
import { Modal } from './modal.tsx';

type NoticeProps = { title: string; isWide?: boolean; onClose(): void; children: ComponentChildren };

export function Notice({ title, isWide = false, onClose, children }: NoticeProps) {
  return (
    <Modal title={title} isWide={isWide} onClose={onClose}>
      {(close) => (
        <>
          <div class="content form">{children}</div>
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
