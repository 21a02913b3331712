// A prompt and its two responses, side by side; one below the other on a phone.

import type { ComponentChildren } from 'preact';
import type { Choice, Prompt } from '../api.ts';
import { Markdown } from '../markdown/markdown.tsx';
import { useTexts } from '../texts/texts.ts';
import { PolicyName } from './policy-name.tsx';

export type SideName = 'a' | 'b';
export type Shown = { text: string; finish_reason?: string };

export function PromptView({ prompt }: { prompt: Prompt }) {
  const texts = useTexts();
  const messages = typeof prompt === 'string' ? [{ role: 'user', content: prompt }] : prompt;
  return (
    <section class="prompt" aria-label={texts.prompt}>
      {messages.map(({ role, content }, at) => (
        <div key={at} class={`turn ${role}`}>
          {messages.length > 1 && <span class="role">{texts.roles[role] ?? role}</span>}
          <Markdown text={toText(content)} />
        </div>
      ))}
    </section>
  );
}

type SidesProps = {
  a: Shown;
  b: Shown;
  choice?: Choice | null;
  policies?: { a: string; b: string } | null;
  isWriting?: boolean;
  /** shown in place of the text of a side, or below it */
  editor?: { side: SideName; instead?: ComponentChildren; below?: ComponentChildren } | null;
};

export function Sides({ a, b, choice = null, policies = null, isWriting = false, editor = null }: SidesProps) {
  const texts = useTexts();
  const side = (name: SideName, { text, finish_reason }: Shown) => {
    const letter = name.toUpperCase();
    const own = editor?.side === name ? editor : null;
    const isOther = (choice === 'a' || choice === 'b') && choice !== name;
    return (
      <section
        class={`side ${name}${choice === name ? ' chosen' : ''}${isOther ? ' other' : ''}`}
        aria-label={texts.response(letter)}
        aria-busy={isWriting}
      >
        <h2>
          <span class="letter">{letter}</span>
          {policies && (
            <span class="policy">
              <PolicyName id={policies[name]} />
            </span>
          )}
        </h2>
        {own?.instead ?? <Markdown text={text || (isWriting ? '' : texts.nothing)} />}
        {finish_reason === 'length' && <p class="quiet cut">{texts.cut}</p>}
        {own?.below}
      </section>
    );
  };
  return (
    <div class="sides" id="responses">
      {side('a', a)}
      {side('b', b)}
    </div>
  );
}

/** A message's content is a text, or parts that have one. */
function toText(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  return content.map((part: { text?: string }) => part.text ?? '').join('\n\n');
}
