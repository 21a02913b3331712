// The colours of a token's probability: none for what had to come, and deeper the more surprising it is.

const STEPS: [atLeast: number, tone: string][] = [
  [0.8, ''],
  [0.5, 'less-1'],
  [0.2, 'less-2'],
  [0.05, 'less-3'],
  [0, 'less-4'],
];

/** A class of token-map.css. */
export function toTone(logprob: number): string {
  const chance = Math.exp(logprob);
  return STEPS.find(([atLeast]) => chance >= atLeast)?.[1] ?? '';
}

export const LEGEND: [tone: string, label: string][] = [
  ['', '80% or likelier'],
  ['less-1', 'from 50%'],
  ['less-2', 'from 20%'],
  ['less-3', 'from 5%'],
  ['less-4', 'below 5%'],
];

export function formatChance(logprob: number): string {
  const percent = 100 * Math.exp(logprob);
  if (percent < 0.01) return '< 0.01%';
  return `${percent.toFixed(percent < 1 ? 2 : 1)}%`;
}
