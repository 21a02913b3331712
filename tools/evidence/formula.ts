// Formulas in plain text notation as markup with subscripts and superscripts.

import { html } from 'hono/html';
import type { Html } from '../report/components.ts';

const SCRIPT = /([_^])(?:\{([^{}]*)\}|([\p{L}\p{N}]+|\*))/gu;

/** `π_ref e^{f_w}` as markup: _ and ^ apply to the letters and digits that follow, or to a group in braces. */
export function formula(text: string): Html {
  const parts: (string | Html)[] = [];
  let end = 0;
  for (const { 0: match, 1: kind, 2: group, 3: plain, index } of text.matchAll(SCRIPT)) {
    // An exponent may have its own subscript.
    const inner = group === undefined ? plain! : formula(group);
    parts.push(text.slice(end, index), kind === '_' ? html`<sub>${inner}</sub>` : html`<sup>${inner}</sup>`);
    end = index + match.length;
  }
  return html`${parts}${text.slice(end)}`;
}
