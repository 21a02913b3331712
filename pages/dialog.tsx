// A dialog above the page. The browser keeps the focus in it, and closes it with Escape.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { useTexts } from './texts/texts.ts';

type Props = {
  title: string;
  /** where the content has a heading of its own */
  hasHiddenTitle?: boolean;
  done?: string;
  onClose(): void;
  children: ComponentChildren;
};

export function Dialog({ title, hasHiddenTitle = false, done, onClose, children }: Props) {
  const texts = useTexts();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const { current } = dialog;
    current?.showModal();
    return () => current?.close();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={onClose}>
      <h2 id="dialog-title" class={hasHiddenTitle ? 'hidden' : undefined}>
        {title}
      </h2>
      {/* Scrolls, so the keyboard must reach it. */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: as above */}
      <div class="content" tabIndex={0}>
        {children}
      </div>
      <div class="actions">
        <button type="button" class="primary" autofocus onClick={() => dialog.current?.close()}>
          {done ?? texts.close}
        </button>
      </div>
    </dialog>
  );
}
