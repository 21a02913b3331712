// Formulas as MathML, which needs no styles and fonts of its own. KaTeX is loaded with the first text that may have one, and
// nobody sees the source of a formula meanwhile.

import DOMPurify from 'dompurify';

type Katex = typeof import('katex')['default'];

/** In one text; what follows is shown as it was written. */
const MAX_FORMULAS = 300;
const MAX_WAIT_MS = 2000;
const OPENING = /\$|\\[([]/;

const ALLOWED = { USE_PROFILES: { mathMl: true }, RETURN_DOM_FRAGMENT: true as const };

let katex: Katex | null = null;

/** Waits until the formulas of these texts can be rendered at once, or not for long. */
export async function prepareFormulas(...texts: string[]): Promise<void> {
  if (katex || !texts.some((text) => OPENING.test(text))) return;
  const waited = new Promise<void>((resolve) => setTimeout(resolve, MAX_WAIT_MS));
  await Promise.race([load().catch(() => {}), waited]);
}

export function renderFormulas(root: ParentNode): void {
  const formulas = [...root.querySelectorAll('.formula')].slice(0, MAX_FORMULAS);
  if (formulas.length === 0) return;
  if (katex) {
    renderAll(formulas, katex);
    return;
  }
  for (const formula of formulas) formula.classList.add('pending');
  load()
    .then((loaded) => renderAll(formulas, loaded))
    // Without KaTeX the source is better than nothing.
    .catch(() => {})
    .finally(() => {
      for (const formula of formulas) formula.classList.remove('pending');
    });
}

async function load(): Promise<Katex> {
  katex ??= (await import('katex')).default;
  return katex;
}

function renderAll(formulas: Element[], katex: Katex): void {
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
