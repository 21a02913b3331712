// The elements of <attune-compare>, made once. Its parts can be styled from outside: prompt, side, side-a, side-b, label, text,
// votes, vote, vote-a, vote-b, vote-tie, vote-both-bad, status, message, undo, retry.

import type { Choice } from './api.ts';
import type { Texts } from './texts.ts';

type Content = (Node | string)[];
export type Layout = ReturnType<typeof createLayout>;

const VOTES: { choice: Choice; text: keyof Texts; key: string }[] = [
  { choice: 'a', text: 'vote-a', key: 'a' },
  { choice: 'b', text: 'vote-b', key: 'b' },
  { choice: 'tie', text: 'tie', key: 't' },
  { choice: 'both_bad', text: 'both-bad', key: 'x' },
];

export function createLayout(texts: Texts, on: { vote(choice: Choice): void; undo(): void; retry(): void }) {
  const prompt = create('div', { part: 'prompt' });
  const promptText = create('div', { part: 'text', class: 'text', dir: 'auto' });
  prompt.append(create('p', { class: 'label', part: 'label' }, texts.prompt), promptText);
  const sides = (['a', 'b'] as const).map((name) => {
    const label = create('p', { class: 'label', part: 'label', id: `side-${name}` }, texts[`side-${name}`]);
    const text = create('div', { part: 'text', class: 'text', dir: 'auto' });
    const article = create('article', { part: `side side-${name}`, 'aria-labelledby': label.id });
    article.append(label, text);
    return { name, article, text };
  });
  const row = create('div', { class: 'sides', part: 'sides' });
  row.append(...sides.map(({ article }) => article));

  const votes = create('div', { class: 'votes', part: 'votes', role: 'group', 'aria-label': texts.votes });
  const buttons = VOTES.map(({ choice, text, key }) => {
    const part = `vote vote-${choice.replace('_', '-')}`;
    const button = createButton(part, texts[text], () => on.vote(choice));
    button.setAttribute('aria-pressed', 'false');
    button.setAttribute('aria-keyshortcuts', key);
    return { choice, button };
  });
  votes.append(...buttons.map(({ button }) => button));

  const status = create('div', { class: 'status', part: 'status' });
  const message = create('p', { part: 'message', role: 'status' });
  const undo = createButton('undo', texts.undo, on.undo);
  const retry = createButton('retry', texts.retry, on.retry);
  status.append(message, undo, retry);

  const root = create('section', { part: 'container', 'aria-labelledby': 'title' });
  root.append(create('p', { id: 'title', part: 'title' }, texts.title), prompt, row, votes, status);

  /** Keeps the focus inside when the button that has it goes. */
  const hide = (button: HTMLElement, isHidden: boolean) => {
    const hadFocus = isHidden && button.matches(':focus');
    button.hidden = isHidden;
    if (hadFocus) buttons[0]?.button.focus();
  };

  return {
    root,
    show(shown: { prompt: Content | null; sides: [Content, Content] | null }): void {
      prompt.hidden = shown.prompt === null;
      promptText.replaceChildren(...(shown.prompt ?? []));
      row.hidden = shown.sides === null;
      votes.hidden = shown.sides === null;
      for (const [at, { text }] of sides.entries()) text.replaceChildren(...(shown.sides?.[at] ?? []));
    },
    /** Not disabled while a vote is on its way: a button that is loses the focus. */
    mark(choice: Choice | null, { isOpen }: { isOpen: boolean }): void {
      for (const { choice: own, button } of buttons) {
        button.setAttribute('aria-pressed', String(own === choice));
        button.setAttribute('aria-disabled', String(!isOpen));
      }
      for (const { name, article } of sides) article.toggleAttribute('data-chosen', name === choice);
    },
    /** No more votes. */
    close(): void {
      votes.hidden = true;
    },
    say(text: string, offers: { undo?: boolean; retry?: boolean; isError?: boolean }): void {
      message.setAttribute('role', offers.isError ? 'alert' : 'status');
      setText(message, text);
      hide(undo, !offers.undo);
      hide(retry, !offers.retry);
    },
    focusVotes(): void {
      buttons[0]?.button.focus();
    },
  };
}

function createButton(part: string, text: string, onClick: () => void): HTMLButtonElement {
  const button = create('button', { part, type: 'button' }, text);
  button.addEventListener('click', onClick);
  return button;
}

function create<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Record<string, string>,
  text = '',
): HTMLElementTagNameMap[K] {
  const node = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) node.setAttribute(attribute, value);
  setText(node, text);
  return node;
}

/** In its own direction, which may be another than that of the page. */
function setText(node: HTMLElement, text: string): void {
  const isolated = document.createElement('bdi');
  isolated.textContent = text;
  node.replaceChildren(...(text ? [isolated] : []));
}
