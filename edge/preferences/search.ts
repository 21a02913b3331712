// Words to search preferences for. A gin index finds the rows that have words, or lack some of them, in no order; whether one
// word follows another is looked up in each row, whose texts are split into words for it: a tenth of a millisecond.

import { type SQL, sql } from 'drizzle-orm';
import type { Database } from '../../shared/database/connect.ts';
import { preferences, searchedWords } from '../../shared/database/schema.ts';
import { AttuneError } from '../../shared/error.ts';

export type Words = {
  /** whether a row matches */
  matches: SQL;
  /** what the index alone finds: rows that match, and if words follow each other, others that have them too */
  indexed: SQL;
  isPhrase: boolean;
};

/** Null: no word is in the text, and nothing matches. Throws if it only says what there should not be. */
export async function readWords(db: Database, search: string): Promise<Words | null> {
  const query = sql`websearch_to_tsquery('simple', ${search})`;
  // Its part that the index finds: without what is excluded, and T for everything.
  const [read] = await db.execute<{ query: string; indexed: string }>(
    sql`select ${query}::text as query, querytree(${query}) as indexed`,
  );
  const { query: text, indexed } = read!;
  if (text === '') return null;
  if (indexed === 'T' || indexed === '')
    throw new AttuneError(
      'search: that is about nearly all preferences, since it says what they should not have; add a word that they have',
      { param: 'search', code: 'search_too_broad' },
    );
  const isPhrase = FOLLOWED_BY.test(text);
  const matches = sql`${searchedWords(preferences)} @@ ${query}`;
  const loose = indexed.replaceAll(FOLLOWED_BY, '&');
  return { matches, indexed: isPhrase ? sql`${searchedWords(preferences)} @@ ${loose}::tsquery` : matches, isPhrase };
}

/** `'once' <-> 'upon'` */
const FOLLOWED_BY = /<(-|\d+)>/g;

export function tooManyToCompare(max: number): AttuneError {
  return new AttuneError(
    `search: more than ${max} preferences have these words in some order; add a rarer word, or filter them`,
    { param: 'search', code: 'search_too_broad' },
  );
}
