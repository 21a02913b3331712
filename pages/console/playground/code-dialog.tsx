// What was just done, as a command or a program.

import { useState } from 'preact/hooks';
import { Command } from '../parts/command.tsx';
import { Segments } from '../parts/field.tsx';
import { Notice } from '../parts/notice.tsx';
import type { ChatBody } from './chat-types.ts';
import { LANGUAGES, type Language, writeCode } from './code.ts';

export function CodeDialog({ body, needsKey, onClose }: { body: ChatBody; needsKey: boolean; onClose(): void }) {
  const [language, setLanguage] = useState<Language>('curl');
  return (
    <Notice title="The same request" isWide onClose={onClose}>
      <Segments label="Language" value={language} options={LANGUAGES} onChange={(value) => setLanguage(value)} />
      <div class="code-dialog">
        <Command text={writeCode(language, location.origin, body, needsKey)} />
      </div>
      {needsKey && <p class="quiet">It needs a key with the scope generate in ATTUNE_API_KEY.</p>}
    </Notice>
  );
}
