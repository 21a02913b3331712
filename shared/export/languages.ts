// Guesses the languages of prompts, from a sample of them that is the same each time.

import { sql } from 'drizzle-orm';
import type { DatasetQuery } from './dataset-query.ts';

/** `by_language`: ISO 639-3; `und`: too short to tell, or none that is known. */
export type LanguageCount = { sampled: number; by_language: Record<string, number> };

const SAMPLE = 1000;
const MAX_LENGTH = 1000;
/** Of shorter texts it names a language that they are not in as often as not. */
const MIN_LENGTH = 24;

export async function countLanguages(select: DatasetQuery): Promise<LanguageCount> {
  const rows = await select<{ text: string | null }>(sql`
    select left(
      case when jsonb_typeof(prompt) = 'string' then prompt #>> '{}' else (
        select m ->> 'content' from jsonb_array_elements(prompt) with ordinality as e (m, at)
        where m ->> 'role' = 'user' order by at desc limit 1
      ) end, ${MAX_LENGTH}) as text
    from (select prompt from c order by md5(id) limit ${SAMPLE}) s`);
  // Its tables take longer to load than a Worker may take to start.
  const { franc } = await import('franc-min');
  const counts: Record<string, number> = {};
  for (const { text } of rows) {
    const language = franc(text ?? '', { minLength: MIN_LENGTH });
    counts[language] = (counts[language] ?? 0) + 1;
  }
  const sorted = Object.entries(counts).sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  return { sampled: rows.length, by_language: Object.fromEntries(sorted) };
}
