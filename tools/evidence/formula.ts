// Formulas in plain text, as they are written in comments, with their indices and exponents set as such.
import { Html, html } from '../report/html.ts';

const RAISED = /([_^])(?:\{([^{}]*)\}|([\p{L}\p{N}]+|\*))/gu;

/** `π_ref e^{f_w}` as markup: after _ or ^ come letters and digits, or anything in braces. */
export function formula(text: string): Html {
  return new Html(
    html`${text}`.text.replace(RAISED, (_, kind: string, braced?: string, plain?: string) => {
      const tag = kind === '_' ? 'sub' : 'sup';
      // An exponent may have an index of its own.
      const inner = braced === undefined ? plain! : formula(braced).text;
      return `<${tag}>${inner}</${tag}>`;
    }),
  );
}
