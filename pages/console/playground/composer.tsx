// What one says: Enter sends it, and Escape stops the reply.

import { useEffect, useRef, useState } from 'preact/hooks';
import { ErrorLine } from '../parts/states.tsx';
import type { Chat } from './use-chat.ts';

export function Composer({ chat }: { chat: Chat }) {
  const [text, setText] = useState('');
  const field = useRef<HTMLTextAreaElement>(null);
  const { isWriting, error } = chat;
  useEffect(() => {
    if (!isWriting) return;
    const stop = (event: KeyboardEvent) => {
      if (event.key === 'Escape') chat.stop();
    };
    document.addEventListener('keydown', stop);
    return () => document.removeEventListener('keydown', stop);
  }, [isWriting]);
  const send = () => {
    if (text.trim() === '' || isWriting) return;
    if (chat.send(text.trim())) setText('');
    field.current?.focus();
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {error && <ErrorLine>{error}</ErrorLine>}
      <textarea
        ref={field}
        rows={2}
        aria-label="Message"
        placeholder="Message"
        dir="auto"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          send();
        }}
      />
      <div class="send">
        <span class="quiet keyboard">
          <kbd>Enter</kbd> sends, <kbd>Shift</kbd> <kbd>Enter</kbd> is a new line
        </span>
        {isWriting ? (
          <button type="button" onClick={chat.stop}>
            Stop <kbd>Esc</kbd>
          </button>
        ) : (
          <button type="submit" class="primary" disabled={text.trim() === ''}>
            Send
          </button>
        )}
      </div>
    </form>
  );
}
