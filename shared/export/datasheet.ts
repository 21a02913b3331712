// What an export of comparisons contains, in numbers: the answers that a database can give to the questions of "Datasheets for
// Datasets" (Gebru et al., 2021).

import type { Agreement } from './agreement.ts';
import type { LanguageCount } from './languages.ts';

export type Quantiles = { min: number; p25: number; median: number; p75: number; p95: number; max: number };
type Dates = { first: string | null; last: string | null };

export type Datasheet = {
  object: 'datasheet';
  created: number;
  selection: { tenant: string; queue: string | null; since: string | null; until: string | null };
  licence: string | null;
  comparisons: { total: number; voted: number; redacted: number; dates: Dates };
  votes: {
    total: number;
    by_choice: Record<string, number>;
    by_strength: Record<string, number>;
    by_queue: { queue: string | null; name: string | null; votes: number }[];
    /** a vote counts for the policies of both of its sides */
    by_policy: { policy: string; votes: number; preferred: number }[];
    redacted: number;
    with_comment: number;
    seconds_median: number | null;
    dates: Dates;
  };
  /** of the tenant and time; of a queue: of its votes and their edits */
  preferences_by_source: Record<string, number>;
  raters: {
    total: number;
    by_kind: Record<'rater' | 'end user' | 'other', number>;
    votes_per_rater: Quantiles | null;
    /** of the most active ones, most first */
    votes_of_most_active: number[];
  };
  agreement: Agreement;
  /** `sampled`: the comparisons whose prompts and responses were measured */
  prompts: {
    distinct: number;
    chats: number;
    sampled: number;
    characters: Quantiles | null;
    languages: LanguageCount;
  };
  responses: { characters: Quantiles | null };
  guidelines: { queue: string; name: string; version: number; created: string; votes: number; text: string }[];
  limits: string[];
};
