// Markdown of a policy, a rater or an operator to nodes that do nothing: no script, style, image or form, and links only to
// other pages, in a tab of their own.

import DOMPurify from 'dompurify';
import { toUnsafeHtml } from './parse.ts';

/** Characters; a longer text is shown as it is, because nobody reads it for its headings. */
const MAX_LENGTH = 50_000;

const ALLOWED = {
  ALLOWED_TAGS: [
    ...['p', 'br', 'hr', 'h3', 'h4', 'h5', 'h6', 'strong', 'em', 'del', 'code', 'pre', 'a', 'span'],
    ...['ul', 'ol', 'li', 'blockquote', 'table', 'thead', 'tbody', 'tr', 'th', 'td'],
  ],
  ALLOWED_ATTR: ['href', 'start', 'align', 'class'],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  RETURN_DOM_FRAGMENT: true as const,
};

/** Blocks whose direction follows their own text. */
const BLOCKS = 'p, h3, h4, h5, h6, ul, ol, li, blockquote, td, th';

export function renderMarkdown(markdown: string): DocumentFragment {
  if (markdown.length > MAX_LENGTH) return renderPlain(markdown);
  const fragment = DOMPurify.sanitize(toUnsafeHtml(markdown), ALLOWED);
  for (const block of fragment.querySelectorAll(BLOCKS)) block.setAttribute('dir', 'auto');
  for (const code of fragment.querySelectorAll('pre')) {
    code.setAttribute('dir', 'ltr');
    // Scrolls sideways, so the keyboard must reach it.
    code.setAttribute('tabindex', '0');
  }
  for (const link of fragment.querySelectorAll('a')) {
    link.setAttribute('target', '_blank');
    link.setAttribute('rel', 'noopener noreferrer nofollow');
  }
  for (const table of fragment.querySelectorAll('table')) {
    const scroller = document.createElement('div');
    scroller.className = 'scroller';
    scroller.tabIndex = 0;
    table.replaceWith(scroller);
    scroller.append(table);
  }
  return fragment;
}

function renderPlain(text: string): DocumentFragment {
  const fragment = document.createDocumentFragment();
  const block = document.createElement('div');
  block.className = 'plain';
  block.dir = 'auto';
  block.textContent = text;
  fragment.append(block);
  return fragment;
}
