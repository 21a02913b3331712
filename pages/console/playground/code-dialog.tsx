// What was just done, as a command or a program.

import { useState } from 'preact/hooks';
import { Command } from '../parts/command.tsx';
import { Segments } from '../parts/field.tsx';
import { Modal } from '../parts/modal.tsx';
import type { ChatBody } from './chat-types.ts';
import { LANGUAGES, type Language, writeCode } from './code.ts';

export function CodeDialog({ body, needsKey, onClose }: { body: ChatBody; needsKey: boolean; onClose(): void }) {
  const [language, setLanguage] = useState<Language>('curl');
  return (
    <Modal title="The same request" isWide onClose={onClose}>
      {(close) => (
        <>
          <div class="content form code-dialog">
            <Segments label="Language" value={language} options={LANGUAGES} onChange={(value) => setLanguage(value)} />
            <Command text={writeCode(language, location.origin, body, needsKey)} />
            {needsKey && <p class="quiet">It needs a key with the scope generate in ATTUNE_API_KEY.</p>}
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
