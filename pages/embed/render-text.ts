// A response as nodes of the page: marked finds the Markdown, and this file makes elements of it, of the kinds below and no
// others. A text is never parsed as HTML, so that nothing in it can run, load or style anything.

import { lexer, type MarkedToken, type Token } from 'marked';

/** A longer one is shown as it is: to find its Markdown would hold up the page. */
const MAX_LENGTH = 100_000;

export function renderText(text: string, format: string | null): (Node | string)[] {
  if (format === 'text' || text.length > MAX_LENGTH) return [create('p', [text])];
  return renderAll(lexer(text));
}

function renderAll(tokens: Token[]): (Node | string)[] {
  return tokens.flatMap((token) => render(token as MarkedToken));
}

function render(token: MarkedToken): Node | string | (Node | string)[] {
  switch (token.type) {
    case 'space':
    case 'def':
      return [];
    case 'paragraph':
      return create('p', renderAll(token.tokens));
    case 'heading':
      // The page around it has headings of its own.
      return create('p', [create('strong', renderAll(token.tokens))]);
    case 'blockquote':
      return create('blockquote', renderAll(token.tokens));
    case 'list': {
      const list = create(token.ordered ? 'ol' : 'ul', renderAll(token.items));
      if (token.ordered && typeof token.start === 'number') list.setAttribute('start', String(token.start));
      return list;
    }
    case 'list_item':
      return create('li', [...(token.task ? [token.checked ? '☑ ' : '☐ '] : []), ...renderAll(token.tokens)]);
    case 'code':
      return scrollable(create('pre', [create('code', [token.text])]));
    case 'table':
      return scrollable(create('div', [renderTable(token.header, token.rows)]));
    case 'hr':
      return create('hr', []);
    case 'br':
      return create('br', []);
    case 'codespan':
      return create('code', [token.text]);
    case 'strong':
    case 'em':
    case 'del':
      return create(token.type, renderAll(token.tokens));
    case 'link':
      return renderLink(token.href, renderAll(token.tokens));
    case 'image':
      // Loading it would tell its server who reads this.
      return token.text;
    case 'text':
      return token.tokens ? renderAll(token.tokens) : token.text;
    case 'escape':
      return token.text;
    default:
      // HTML among it.
      return token.raw;
  }
}

type Cell = { tokens: Token[] };

function renderTable(header: Cell[], rows: Cell[][]): HTMLElement {
  const toRow = (cells: Cell[], name: 'th' | 'td') =>
    create(
      'tr',
      cells.map((cell) => create(name, renderAll(cell.tokens))),
    );
  return create('table', [toRow(header, 'th'), ...rows.map((row) => toRow(row, 'td'))]);
}

function renderLink(href: string, content: (Node | string)[]): Node | (Node | string)[] {
  if (!/^https?:\/\//i.test(href)) return content;
  const link = create('a', content);
  link.href = href;
  link.target = '_blank';
  link.rel = 'noopener noreferrer nofollow ugc';
  return link;
}

/** Also by keyboard. */
function scrollable(node: HTMLElement): HTMLElement {
  node.tabIndex = 0;
  node.classList.add('scroll');
  return node;
}

function create<K extends keyof HTMLElementTagNameMap>(name: K, content: (Node | string)[]): HTMLElementTagNameMap[K] {
  const node = document.createElement(name);
  node.append(...content);
  return node;
}
