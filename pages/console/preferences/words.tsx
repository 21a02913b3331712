// How choices, sources and raters of preferences are called.

import type { Preference } from '../../api.ts';
import { Badge, type Tone } from '../parts/page.tsx';

export const CHOICES = [
  ['a', 'A is better'],
  ['b', 'B is better'],
  ['tie', 'Tie'],
  ['both_bad', 'Both bad'],
  ['skip', 'Skipped'],
] as const;

export const SOURCES = [
  ['comparison', 'Comparison'],
  ['generations', 'Two generations'],
  ['raw', 'Given texts'],
  ['demonstration', 'Edit'],
  ['implicit', 'Regenerated'],
  ['import', 'Imported'],
] as const;

const TONES: Record<string, Tone> = { a: 'good', b: 'good', tie: 'quiet', both_bad: 'bad', skip: 'quiet' };

export const findLabel = (options: readonly (readonly [string, string])[], value: string) =>
  options.find(([name]) => name === value)?.[1] ?? value;

/** A rater chose a side of a comparison; of two given texts the first is better. */
export function ChoiceBadge({ preference: { choice, source } }: { preference: Preference }) {
  const isSide = choice === 'a' || choice === 'b';
  const label = isSide && source !== 'comparison' ? 'Chosen' : findLabel(CHOICES, choice);
  return <Badge tone={TONES[choice] ?? 'quiet'}>{label}</Badge>;
}

export function isDecided({ choice }: Preference): boolean {
  return choice === 'a' || choice === 'b';
}

export function nameSide(preference: Preference, side: 'chosen' | 'rejected'): string {
  if (isDecided(preference)) return side === 'chosen' ? 'Chosen' : 'Rejected';
  return side === 'chosen' ? 'Response A' : 'Response B';
}
