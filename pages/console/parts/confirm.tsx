// Asks before something is changed for everybody: what will happen, and a button that says so.

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import type { ApiError } from '../../api.ts';
import { Modal } from './modal.tsx';
import { ErrorLine } from './states.tsx';

type ConfirmProps = {
  title: string;
  /** what the button says: the action */
  action: string;
  isDangerous?: boolean;
  isWide?: boolean;
  run(): Promise<unknown>;
  onClose(): void;
  children: ComponentChildren;
};

export function Confirm({ title, action, isDangerous, isWide = false, run, onClose, children }: ConfirmProps) {
  const [isRunning, setRunning] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const submit = async (event: Event, close: () => void) => {
    event.preventDefault();
    setRunning(true);
    setError(null);
    try {
      await run();
      close();
    } catch (thrown) {
      setError(thrown as ApiError);
    }
    setRunning(false);
  };
  return (
    <Modal title={title} isWide={isWide} onClose={onClose}>
      {(close) => (
        <form onSubmit={(event) => submit(event, close)}>
          <div class="content">{children}</div>
          {error && <ErrorLine>{error.message}</ErrorLine>}
          <div class="actions end">
            <button type="button" onClick={close}>
              Cancel
            </button>
            <button type="submit" class={isDangerous ? 'primary danger' : 'primary'} disabled={isRunning}>
              {isRunning ? 'One moment …' : action}
            </button>
          </div>
        </form>
      )}
    </Modal>
  );
}
