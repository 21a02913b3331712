// Markdown to HTML that is still unsafe: raw HTML is shown as the text that it is, images are links, and formulas between $, $$,
// \( \) and \[ \] are left for math.ts.

import { Marked, type TokenizerAndRendererExtension } from 'marked';

/** Characters of a formula, so that a lone $ costs little. */
const FORMULAS: [pattern: RegExp, isBlock: boolean][] = [
  [/^\$\$((?:\\[\s\S]|[^\\$]){1,2000}?)\$\$/, true],
  [/^\\\[([\s\S]{1,2000}?)\\\]/, true],
  [/^\\\(([\s\S]{1,2000}?)\\\)/, false],
  // Not prices: nothing opens before a space or closes after one, or before a digit.
  [/^\$(?!\s)((?:\\.|[^\\$\n]){1,500}?)(?<!\s)\$(?!\d)/, false],
];

const formula: TokenizerAndRendererExtension = {
  name: 'formula',
  level: 'inline',
  start: (source) => source.search(/\$|\\[([]/),
  tokenizer(source) {
    for (const [pattern, isBlock] of FORMULAS) {
      const [raw, text] = pattern.exec(source) ?? [];
      if (raw !== undefined) return { type: 'formula', raw, text: text!.trim(), isBlock };
    }
    return undefined;
  },
  renderer: ({ text, isBlock }) => `<span class="${isBlock ? 'formula block' : 'formula'}">${escapeHtml(text)}</span>`,
};

const marked = new Marked({
  gfm: true,
  breaks: true,
  extensions: [formula],
  renderer: {
    html: ({ text }) => escapeHtml(text),
    image: ({ href, text }) => `<a href="${escapeHtml(href)}">${escapeHtml(text || href)}</a>`,
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
    // Below the headings of the page.
    heading({ tokens, depth }) {
      const level = Math.min(depth + 2, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
  },
});

export function toUnsafeHtml(markdown: string): string {
  return marked.parse(markdown, { async: false });
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
