// A state of the page that is one sentence, and what can be done about it.

import type { ComponentChildren } from 'preact';

type Props = {
  title: string;
  text?: string | undefined;
  isLoading?: boolean;
  /** below the heading of a queue */
  isPart?: boolean;
  children?: ComponentChildren;
};

export function Message({ title, text, isLoading = false, isPart = false, children }: Props) {
  const Box = isPart ? 'div' : 'main';
  const Title = isPart ? 'h2' : 'h1';
  return (
    <Box class={isLoading ? 'message loading' : 'message'} aria-busy={isLoading}>
      {isLoading ? <p role="status">{title}</p> : <Title>{title}</Title>}
      {text && (
        <p class="quiet" dir="auto">
          {text}
        </p>
      )}
      {children && <div class="actions">{children}</div>}
    </Box>
  );
}
