// How far raters agree on the comparisons of an export, beyond chance.

import { type SQL, sql } from 'drizzle-orm';
import { bootstrap, type Estimate } from '../statistics/confidence-interval.ts';
import { type AlphaLevel, krippendorffAlpha } from '../statistics/krippendorff-alpha.ts';

export type Agreement = {
  /** on which at least two raters voted; a skip is no vote */
  comparisons: number;
  /** of these: on which all chose the same */
  unanimous: number;
  /** Krippendorff's α of the choices, nominal; null if nothing tells agreement from chance */
  alpha: Estimate | null;
  /** of the strengths, ordinal, on comparisons where at least two gave one */
  strength_alpha: Estimate | null;
};

const CHOICES = ['a', 'b', 'tie', 'both_bad'];
const STRENGTHS = ['slightly', 'clearly', 'much'];

/** Resampling more of them takes seconds, and narrows nothing that matters. */
const RESAMPLED = 5000;

type Select = (query: SQL) => Promise<Record<string, unknown>[]>;

/** `select`: from `v`, the votes. */
export async function measureAgreement(select: Select): Promise<Agreement> {
  const choices = await countPatterns(select, sql`choice`, CHOICES);
  const strengths = await countPatterns(select, sql`strength`, STRENGTHS);
  const sum = (patterns: Pattern[]) => patterns.reduce((total, { items }) => total + items, 0);
  return {
    comparisons: sum(choices),
    unanimous: sum(choices.filter(({ counts }) => counts.filter((count) => count > 0).length === 1)),
    alpha: estimateAlpha(choices, 'nominal'),
    strength_alpha: estimateAlpha(strengths, 'ordinal'),
  };
}

/** `counts`: of each value; `items`: how many comparisons have these. */
type Pattern = { counts: number[]; items: number };

async function countPatterns(select: Select, column: SQL, values: string[]): Promise<Pattern[]> {
  const counts = values.map((value) => sql`count(*) filter (where ${column} = ${value})::int`);
  const rows = await select(sql`
    select counts, count(*)::int as items from (
      select json_build_array(${sql.join(counts, sql`, `)})::text as counts from v
      where ${column} = any(${sql.param(`{${values.join(',')}}`)}::text[])
      group by comparison_id having count(*) >= 2
    ) patterns group by 1 order by 1`);
  return rows.map(({ counts, items }) => ({ counts: JSON.parse(String(counts)), items: Number(items) }));
}

function estimateAlpha(patterns: Pattern[], level: AlphaLevel): Estimate | null {
  const statistic = krippendorffAlpha(
    patterns.map(({ counts }) => counts),
    level,
  );
  const value = statistic(Float64Array.from(patterns, ({ items }) => items));
  if (Number.isNaN(value)) return null;
  const total = patterns.reduce((sum, { items }) => sum + items, 0);
  const kept = Math.min(1, RESAMPLED / total);
  const items = patterns.flatMap(({ counts, items }) => Array<number[]>(Math.round(items * kept)).fill(counts));
  const interval = bootstrap([...items.keys()], krippendorffAlpha(items, level));
  if (interval === null) return { value, interval };
  // The interval of fewer items is wider by the root of their share.
  const narrow = (end: number) => value + (end - value) * Math.sqrt(kept);
  return { value, interval: { low: narrow(interval.low), high: narrow(interval.high) } };
}
