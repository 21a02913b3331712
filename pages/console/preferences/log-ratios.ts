// The colours of log-ratios: four steps on both sides of 0, up to a round number that few tokens of the pair exceed.

const STEPS = 4;
/** Of the tokens, that are within the steps: one that stands out should not make all others pale. */
const QUANTILE = 0.98;
/** Below this share of the limit a token has no colour. */
const EVEN = 0.08;

/** 1, 2 or 5 times a power of ten. */
export function findLimit(ratios: number[]): number {
  const sizes = ratios.map(Math.abs).sort((one, other) => one - other);
  const size = Math.max(sizes[Math.floor(QUANTILE * (sizes.length - 1))] ?? 0, 0.01);
  const power = 10 ** Math.floor(Math.log10(size));
  return power * ([1, 2, 5].find((factor) => factor * power >= size) ?? 10);
}

/** A class of token-map.css. */
export function toTone(ratio: number, limit: number): string {
  if (Math.abs(ratio) < EVEN * limit) return '';
  const step = Math.min(STEPS, Math.ceil((STEPS * Math.abs(ratio)) / limit));
  return `${ratio > 0 ? 'more' : 'less'}-${step}`;
}

export function listSteps(limit: number): [tone: string, label: string][] {
  const at = (step: number) => Number(((limit * step) / STEPS).toPrecision(3));
  return [
    ['less-4', `below −${at(3)}: less likely than before`],
    ['less-2', `−${at(2)}`],
    ['', '0'],
    ['more-2', `+${at(2)}`],
    ['more-4', `above +${at(3)}: more likely`],
  ];
}

export function formatRatio(ratio: number | null): string {
  if (ratio === null) return '–';
  const text = Math.abs(ratio).toFixed(Math.abs(ratio) < 10 ? 3 : 1);
  return `${ratio < 0 ? '−' : '+'}${text}`;
}
