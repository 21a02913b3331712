// How far raters agree on the comparisons of an export, beyond chance.

import { type SQL, sql } from 'drizzle-orm';
import { CHOICES } from '../queues/choice-counts.ts';
import { bootstrap, type Estimate } from '../statistics/confidence-interval.ts';
import { type AlphaLevel, krippendorffAlpha } from '../statistics/krippendorff-alpha.ts';
import type { DatasetQuery } from './dataset-query.ts';

export type Agreement = {
  /** comparisons with a vote, or with skips */
  voted: number;
  /** on which at least two raters voted; a skip is no vote */
  comparisons: number;
  /** of these: on which all chose the same */
  unanimous: number;
  /** Krippendorff's α of the choices, nominal; null if nothing tells agreement from chance */
  alpha: Estimate | null;
  /** of the strengths, ordinal, on comparisons where at least two gave one */
  strength_alpha: Estimate | null;
};

const STRENGTHS = ['slightly', 'clearly', 'much'];

/** Resampling more of them takes seconds, and narrows nothing that matters. */
const RESAMPLED = 5000;

export async function measureAgreement(select: DatasetQuery): Promise<Agreement> {
  const all = await countPatterns(select, sql`choice`, [...CHOICES, 'skip']);
  const strengths = await countPatterns(select, sql`strength`, STRENGTHS);
  const choices = all.map(({ counts, items }) => ({ counts: counts.slice(0, CHOICES.length), items }));
  const several = choices.filter(isOfSeveral);
  return {
    voted: sumItems(all),
    comparisons: sumItems(several),
    unanimous: sumItems(several.filter(({ counts }) => counts.filter((count) => count > 0).length === 1)),
    alpha: estimateAlpha(several, 'nominal'),
    strength_alpha: estimateAlpha(strengths.filter(isOfSeveral), 'ordinal'),
  };
}

/** `counts`: of each value; `items`: how many comparisons have these. */
type Pattern = { counts: number[]; items: number };

const sumItems = (patterns: Pattern[]) => patterns.reduce((total, { items }) => total + items, 0);
const isOfSeveral = ({ counts }: Pattern) => counts.reduce((sum, count) => sum + count, 0) >= 2;

async function countPatterns(select: DatasetQuery, column: SQL, values: string[]): Promise<Pattern[]> {
  const counts = values.map((value) => sql`count(*) filter (where ${column} = ${value})`);
  const rows = await select<{ counts: string; items: number }>(sql`
    select counts, count(*)::int as items from (
      select concat_ws(',', ${sql.join(counts, sql`, `)}) as counts from v
      where ${column} is not null group by comparison_id
    ) patterns group by 1 order by 1`);
  return rows.map(({ counts, items }) => ({ counts: counts.split(',').map(Number), items }));
}

function estimateAlpha(patterns: Pattern[], level: AlphaLevel): Estimate | null {
  const statistic = krippendorffAlpha(
    patterns.map(({ counts }) => counts),
    level,
  );
  const value = statistic(Float64Array.from(patterns, ({ items }) => items));
  if (Number.isNaN(value)) return null;
  const kept = Math.min(1, RESAMPLED / sumItems(patterns));
  const items = patterns.flatMap(({ counts, items }) => Array<number[]>(Math.round(items * kept)).fill(counts));
  const interval = bootstrap([...items.keys()], krippendorffAlpha(items, level));
  if (interval === null) return { value, interval };
  // The interval of fewer items is wider by the root of their share.
  const narrow = (end: number) => value + (end - value) * Math.sqrt(kept);
  return { value, interval: { low: narrow(interval.low), high: narrow(interval.high) } };
}
