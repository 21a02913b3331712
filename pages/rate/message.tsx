// A state of the page that is one sentence, and what can be done about it.

import type { ComponentChildren } from 'preact';

type Props = { title: string; text?: string | undefined; isLoading?: boolean; children?: ComponentChildren };

export function Message({ title, text, isLoading = false, children }: Props) {
  return (
    <main class={isLoading ? 'message loading' : 'message'} aria-busy={isLoading}>
      {isLoading ? <p role="status">{title}</p> : <h1>{title}</h1>}
      {text && (
        <p class="quiet" dir="auto">
          {text}
        </p>
      )}
      {children && <div class="actions">{children}</div>}
    </main>
  );
}
