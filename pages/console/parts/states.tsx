// What a view or a part of it shows instead of content: it loads, it failed, or there is nothing yet.

import type { ComponentChildren } from 'preact';
import { ApiError } from '../../api.ts';
import { follow } from '../../path.ts';
import { Command } from './command.tsx';

export function Loading({ label = 'Loading …' }: { label?: string }) {
  return (
    <p class="loading quiet" role="status">
      {label}
    </p>
  );
}

/** Why something was not done, where it was tried. */
export function ErrorLine({ children }: { children: string }) {
  return (
    <p class="error" role="alert">
      {children}
    </p>
  );
}

type FailureProps = {
  title: string;
  text?: string | undefined;
  error?: Error | null | undefined;
  retry?: (() => void) | undefined;
  children?: ComponentChildren;
};

export function Failure({ title, text, error, retry, children }: FailureProps) {
  const hasNoConnection = error instanceof ApiError && error.status === 0;
  return (
    <div class="state" role="alert">
      <h1>{title}</h1>
      {(text ?? error) && (
        <p class="quiet">
          {text ?? (hasNoConnection ? 'The server does not answer. It may be starting, or stopped.' : error!.message)}
        </p>
      )}
      <div class="actions">
        {retry && (
          <button type="button" class="primary" onClick={retry}>
            Try again
          </button>
        )}
        {children}
      </div>
    </div>
  );
}

type MissingProps = { what: string; error: ApiError; retry(): void; list: string; listName: string };

/** For the page of one thing: there is none with this id, or it could not be read. */
export function Missing({ what, error, retry, list, listName }: MissingProps) {
  const isMissing = error.status === 404;
  return (
    <Failure
      title={isMissing ? `There is no such ${what}` : `The ${what} cannot be read`}
      error={error}
      retry={isMissing ? undefined : retry}
    >
      <a class="button" href={`/console/${list}`} onClick={follow}>
        {listName}
      </a>
    </Failure>
  );
}

/** Says what to do next: `command` is copied by a click, `children` are buttons or links. */
export function Empty({
  title,
  text,
  command,
  children,
}: {
  title: string;
  text?: string;
  command?: string;
  children?: ComponentChildren;
}) {
  return (
    <div class="state empty">
      <p class="title">{title}</p>
      {text && <p class="quiet">{text}</p>}
      {command && <Command text={command} />}
      {children && <div class="actions">{children}</div>}
    </div>
  );
}
