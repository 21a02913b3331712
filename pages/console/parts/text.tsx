// What somebody wrote or a policy generated: a prompt with its messages, and a response, as Markdown.

import './text.css';
import type { Prompt } from '../../api.ts';
import { Markdown } from '../../markdown/markdown.tsx';

const ROLES: Record<string, string> = {
  system: 'System',
  developer: 'Developer',
  user: 'User',
  assistant: 'Assistant',
};

/** A text that a policy goes on from, or the messages of a chat. */
export function PromptText({ prompt }: { prompt: Prompt }) {
  if (typeof prompt === 'string')
    return (
      <p class="prompt-text" dir="auto">
        {prompt}
      </p>
    );
  return (
    <ol class="messages">
      {prompt.map(({ role, content }, at) => (
        <li key={at} class={role}>
          <p class="role">{ROLES[role] ?? role}</p>
          <Markdown text={content} />
        </li>
      ))}
    </ol>
  );
}

/** In one line: of a chat the last message of its user. */
export function toLine(prompt: Prompt): string {
  const text =
    typeof prompt === 'string'
      ? prompt
      : ((prompt.findLast(({ role }) => role === 'user') ?? prompt.at(-1))?.content ?? '');
  return text.slice(0, 300).replaceAll(/\s+/g, ' ').trim();
}
