// Formulas as MathML, which needs no styles and fonts of its own. KaTeX is loaded with the first formula.

import DOMPurify from 'dompurify';

/** In one text; what follows is shown as it was written. */
const MAX_FORMULAS = 300;

const ALLOWED = { USE_PROFILES: { mathMl: true }, RETURN_DOM_FRAGMENT: true as const };

export async function renderFormulas(root: Element): Promise<void> {
  const formulas = [...root.querySelectorAll('.formula')].slice(0, MAX_FORMULAS);
  if (formulas.length === 0) return;
  const { default: katex } = await import('katex');
  for (const formula of formulas) {
    const html = katex.renderToString(formula.textContent ?? '', {
      output: 'mathml',
      displayMode: formula.classList.contains('block'),
      throwOnError: false,
      strict: false,
      trust: false,
      maxExpand: 200,
      maxSize: 20,
    });
    // The source, which KaTeX adds for clipboards, would be shown beside the formula.
    formula.replaceChildren(DOMPurify.sanitize(html.replace(/<annotation[^>]*>[\s\S]*?<\/annotation>/g, ''), ALLOWED));
  }
}
