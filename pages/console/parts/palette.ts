// The colours of the page for what is drawn on a canvas, which knows no style sheet.

import { useEffect, useState } from 'preact/hooks';

/** The colours of the page, as its style sheet has them now. */
export type Palette = Record<'text' | 'quiet' | 'line' | 'card' | 'accent' | 'good' | 'bad' | 'warn', string> & {
  series: string[];
};

function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const probe = document.createElement('span');
  document.body.append(probe);
  // Computed, because the style sheet has light-dark(), which a canvas does not know.
  const read = (name: string) => {
    probe.style.color = style.getPropertyValue(name);
    return getComputedStyle(probe).color;
  };
  const palette = {
    text: read('--text'),
    quiet: read('--quiet'),
    line: read('--line'),
    card: read('--card'),
    accent: read('--accent'),
    good: read('--good'),
    bad: read('--bad'),
    warn: read('--warn'),
    series: [1, 2, 3, 4, 5, 6].map((at) => read(`--series-${at}`)),
  };
  probe.remove();
  return palette;
}

/** Follows the theme. */
export function usePalette(): Palette {
  const [palette, setPalette] = useState(readPalette);
  useEffect(() => {
    const update = () => setPalette(readPalette());
    const observer = new MutationObserver(update);
    observer.observe(document.documentElement, { attributeFilter: ['data-theme'] });
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', update);
    return () => {
      observer.disconnect();
      dark.removeEventListener('change', update);
    };
  }, []);
  return palette;
}
