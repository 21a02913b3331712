// The tables that edge and trainer share. drizzle-kit generates migrations/ from this file (`npm run migrations`).
// Rows of completions, generations, preferences and policies are immutable, until they are erased. Triggers on preferences
// (migration 0013) keep new_pairs, preference_counts and voters, whichever code inserts or deletes.

import { sql } from 'drizzle-orm';
import {
  type AnyPgColumn,
  bigint,
  bigserial,
  boolean,
  check,
  customType,
  date,
  doublePrecision,
  index,
  integer,
  pgTable,
  primaryKey,
  real,
  text,
  timestamp,
  uniqueIndex,
} from 'drizzle-orm/pg-core';
import type { Prompt } from '../chat-message.ts';
import type { Hyperparameters } from '../hyperparameters.ts';
import type { PackageKind } from '../package-kind.ts';
import type { QueueSettings } from '../queue-settings.ts';
import type { Scope } from '../scopes.ts';
import type {
  EarlierRound,
  GateReport,
  PairCounts,
  PairOrigins,
  PreviewLine,
  RoundMethod,
  RoundProgress,
  RoundStage,
  RoundStatus,
} from './round-types.ts';

const createdAt = () => timestamp('created_at', { withTimezone: true, mode: 'date' }).notNull().defaultNow();

/** A JSON value. Not drizzle's own jsonb, which parses a text that the driver has parsed already: "0" would become 0. */
const json = <T>(type: 'jsonb' | 'json' = 'jsonb') =>
  customType<{ data: T; driverData: string }>({
    dataType: () => type,
    toDriver: (value) => JSON.stringify(value),
  })();

/** One float32 per token as real[]. Without type fetching (in a Worker) the driver returns arrays as text. */
const reals = customType<{ data: number[]; driverData: string | number[] }>({
  dataType: () => 'real[]',
  toDriver: (values) => `{${values.map((value) => Math.fround(value)).join(',')}}`,
  fromDriver: (value) =>
    typeof value === 'string' ? value.slice(1, -1).split(',').filter(Boolean).map(Number) : value.map(Number),
});

/**
 * The transaction that inserted the row. Ids are made before their rows are committed, so a reader that goes by ids can
 * miss rows; every transaction below pg_snapshot_xmin(pg_current_snapshot()) has ended, so one that goes by xid up to
 * there misses none. Compared in SQL only.
 */
const insertedBy = () => transactionId().notNull().default(sql`pg_current_xact_id()`);

/** Whose row it is, and the key, session or command that stored it (`unknown` for rows older than this column). */
const ownedBy = () => ({
  tenant: text().notNull().default('default'),
  created_by: text().notNull().default('unknown'),
});

/** Whether REDACT has changed its texts. Training reads such a row as texts, because no policy sampled their tokens. */
const isRedacted = () => boolean('redacted').notNull().default(false);

/** Of a row whose content was erased: what is left is its id, its place, and its digests. */
const erasedAt = () => timestamp('erased_at', { withTimezone: true, mode: 'date' });

const transactionId = customType<{ data: string }>({ dataType: () => 'xid8' });

export const policies = pgTable(
  'policies',
  {
    id: text().primaryKey(),
    /** A reward scores responses (ids begin with rwd_): it is never served, active, or anyone's parent. */
    kind: text().$type<PackageKind>().notNull().default('policy'),
    name: text().notNull(),
    parent_id: text(),
    /** the root, the first policy of its line; null if it is that itself */
    reference_id: text(),
    round_id: text(),
    manifest: json<Record<string, unknown>>().notNull(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [
    index('policies_order').on(table.xid, table.id),
    // One policy a round, even if two trainers run it.
    uniqueIndex('policies_one_per_round').on(table.round_id),
    check('policies_kind', sql`kind in ('policy', 'reward')`),
  ],
);

/** Append-only log of which policy became active and why. The newest row is the active policy. */
export const activations = pgTable('activations', {
  id: bigserial({ mode: 'number' }).primaryKey(),
  policy_id: text()
    .notNull()
    .references(() => policies.id),
  /** human-readable: `promoted`, `published by round_…`, `rollback from pol_…` */
  reason: text().notNull(),
  /** Set on a rollback: the earlier activation that it restores. Every row between the two is undone. */
  restores_id: bigint({ mode: 'number' }).references((): AnyPgColumn => activations.id),
  created_at: createdAt(),
});

/** A literal, because a partial index is not used for a parameter. */
export const isChat = sql`kind = 'chat'`;

/** What all choices of a completion share. */
export const completions = pgTable(
  'completions',
  {
    /** id of its first choice */
    id: text().primaryKey(),
    /** the operation that generated it: a chat completion, a text completion, or a comparison; or a response that was given */
    kind: text().$type<'chat' | 'text' | 'comparison' | 'given'>().notNull(),
    /** `given`: no policy generated it */
    policy_id: text().notNull(),
    prompt: json<Prompt>().notNull(),
    /** empty if the prompt was redacted, which they would spell */
    prompt_token_ids: integer().array().notNull(),
    sampling: json<Record<string, unknown>>().notNull(),
    seed: bigint({ mode: 'number' }).notNull(),
    user: text(),
    metadata: json<Record<string, string>>(),
    /** the generation that its user had generated again, and did not keep */
    regenerated_from: text(),
    /** the canary that was running when its policy was selected by user or conversation; null: no canary, or a given policy */
    canary_id: text(),
    redacted: isRedacted(),
    ...ownedBy(),
    erased_at: erasedAt(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [
    // The two orders of the list of stored chats.
    index('completions_chats').on(table.tenant, table.id).where(isChat),
    index('completions_chats_order').on(table.tenant, table.xid, table.id).where(isChat),
    index('completions_user').on(table.tenant, table.user).where(sql`"user" is not null`),
  ],
);

/** One choice of a completion. shared/database/generations.ts reads it together with its completion. */
export const generations = pgTable(
  'generations',
  {
    id: text().primaryKey(),
    completion_id: text()
      .notNull()
      .references(() => completions.id),
    choice: integer().notNull(),
    text: text().notNull(),
    /** empty, as logps, if the text was redacted */
    token_ids: integer().array().notNull(),
    /** log-probability of each token under the policy at temperature 1 */
    logps: reals().notNull(),
    /** the end-of-text token that stopped the generation; not in token_ids */
    stop_token: integer(),
    finish_reason: text().notNull(),
  },
  (table) => [index('generations_completion').on(table.completion_id, table.choice)],
);

export const comparisons = pgTable(
  'comparisons',
  {
    id: text().primaryKey(),
    prompt: json<Prompt>().notNull(),
    a_generation_id: text()
      .notNull()
      .references(() => generations.id),
    b_generation_id: text()
      .notNull()
      .references(() => generations.id),
    /** whether the generation made first is shown as b */
    swapped: boolean().notNull(),
    /** It is voted on through reservations of this queue only. */
    queue_id: text(),
    /** whose candidate and baseline are its sides; null: its policies were given, or are one */
    canary_id: text(),
    metadata: json<Record<string, string>>(),
    ...ownedBy(),
    erased_at: erasedAt(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [
    index('comparisons_tenant').on(table.tenant, table.id),
    index('comparisons_order').on(table.tenant, table.xid, table.id),
    index('comparisons_a_generation').on(table.a_generation_id),
    index('comparisons_b_generation').on(table.b_generation_id),
    index('comparisons_canary').on(table.canary_id).where(sql`canary_id is not null`),
  ],
);

export type ErasureSubject = 'user' | 'rater' | 'key' | 'generation' | 'completion' | 'comparison' | 'preference';

/** `feedback`: absent from older rows. */
export type ErasureCounts = { completions: number; comparisons: number; preferences: number; feedback?: number };

export type Choice = 'a' | 'b' | 'tie' | 'both_bad' | 'skip';

/** By how much the chosen side is better. */
export type Strength = 'slightly' | 'clearly' | 'much';

/** `demonstration`: a better text that somebody wrote, over the response shown; `implicit`: a regenerated response. */
export const PREFERENCE_SOURCES = ['comparison', 'generations', 'raw', 'import', 'demonstration', 'implicit'] as const;
export type PreferenceSource = (typeof PREFERENCE_SOURCES)[number];

type SearchedColumns = Record<'prompt' | 'chosen' | 'rejected', AnyPgColumn>;

/**
 * The words of a preference, as they are and in no language's stems. A tsvector holds less than a megabyte, so long texts are
 * searched by their beginning.
 */
export const searchedWords = ({ prompt, chosen, rejected }: SearchedColumns) =>
  sql`(to_tsvector('simple', left(${prompt}::text, 20000)) || to_tsvector('simple', left(${chosen}, 20000)) || to_tsvector('simple', left(${rejected}, 20000)))`;

export const preferences = pgTable(
  'preferences',
  {
    id: text().primaryKey(),
    source: text().$type<PreferenceSource>().notNull(),
    comparison_id: text().references(() => comparisons.id),
    choice: text().$type<Choice>().notNull(),
    /** the id of a rater, an end user as `user:…`, or the name that an imported file or an older version gave */
    rater: text().notNull(),
    prompt: json<Prompt>().notNull(),
    /** the preferred side; side a if there is none (tie, both_bad, skip) */
    chosen: text().notNull(),
    rejected: text().notNull(),
    chosen_generation_id: text().references(() => generations.id),
    rejected_generation_id: text().references(() => generations.id),
    /** SHA-256 of the judgment, so that a repeated import inserts nothing */
    content_hash: text().notNull(),
    /** SHA-256 of prompt and both texts, in any order; null on a comparison, in an import, and in older rows */
    vote_hash: text(),
    strength: text().$type<Strength>(),
    /** why, in the words of a queue's list */
    tags: text().array().notNull().default(sql`'{}'`),
    comment: text(),
    /** how long its rater looked at the sides, while their page was visible */
    seconds: real(),
    /** the reservation of a queue's item that it was given for */
    reservation_id: text().references((): AnyPgColumn => reservations.id),
    /** of a demonstration: the vote whose chosen side it improves */
    edit_of: text(),
    metadata: json<Record<string, unknown>>(),
    redacted: isRedacted(),
    ...ownedBy(),
    erased_at: erasedAt(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [
    // Across tenants: what a round is requested for (shared/rounds/pairs.ts).
    index('preferences_order').on(table.xid, table.id),
    index('preferences_tenant').on(table.tenant, table.id),
    index('preferences_tenant_order').on(table.tenant, table.xid, table.id),
    uniqueIndex('preferences_one_vote').on(table.comparison_id, table.rater),
    // Also finds what one rater gave.
    uniqueIndex('preferences_one_vote_on_texts').on(table.tenant, table.rater, table.vote_hash),
    uniqueIndex('preferences_one_implicit').on(table.rejected_generation_id).where(sql`source = 'implicit'`),
    uniqueIndex('preferences_import_once').on(table.tenant, table.content_hash).where(sql`source = 'import'`),
    // Of a generation that is erased or outlives its retention.
    index('preferences_chosen_generation').on(table.chosen_generation_id),
    index('preferences_rejected_generation').on(table.rejected_generation_id),
    index('preferences_erased').on(table.erased_at).where(sql`erased_at is not null`),
    uniqueIndex('preferences_one_per_reservation').on(table.reservation_id, table.source),
    index('preferences_edits').on(table.edit_of).where(sql`edit_of is not null`),
    // What people filter a list by.
    index('preferences_choice').on(table.tenant, table.choice, table.id),
    index('preferences_source').on(table.tenant, table.source, table.id),
    index('preferences_rater').on(table.tenant, table.rater, table.id),
    index('preferences_search').using('gin', searchedWords(table)),
    check('preferences_choice', sql`choice in ('a', 'b', 'tie', 'both_bad', 'skip')`),
    check('preferences_strength', sql`strength in ('slightly', 'clearly', 'much')`),
  ],
);

/** What a preference is about, by which a list is filtered: the policies of its generations, its queue, its canary. */
export type PreferenceFacet = 'policy' | 'queue' | 'canary';

/** By facet, the preferences in order of their ids: a page of them reads no others. A trigger adds those of a new preference. */
export const preference_facets = pgTable(
  'preference_facets',
  {
    tenant: text().notNull(),
    facet: text().$type<PreferenceFacet>().notNull(),
    value: text().notNull(),
    preference_id: text()
      .notNull()
      .references(() => preferences.id, { onDelete: 'cascade' }),
  },
  (table) => [
    primaryKey({ columns: [table.tenant, table.facet, table.value, table.preference_id] }),
    // Of a preference that is deleted.
    index('preference_facets_preference').on(table.preference_id),
  ],
);

/**
 * The pairs that the active policy has not learned: strict preferences in no round of the active policy or its ancestors.
 * The trigger adds a new preference; an activation removes what its policy learned and restores what the last one had.
 */
export const new_pairs = pgTable('new_pairs', {
  preference_id: text()
    .primaryKey()
    .references(() => preferences.id, { onDelete: 'cascade' }),
});

/** Number of preferences. Spread over shards, so that concurrent votes do not wait for one row. */
export const preference_counts = pgTable(
  'preference_counts',
  {
    tenant: text().notNull().default('default'),
    source: text().notNull(),
    choice: text().notNull(),
    shard: integer().notNull(),
    count: bigint({ mode: 'number' }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.source, table.choice, table.shard] })],
);

/** Everyone who gave a preference, as preferences.rater names them. */
export const voters = pgTable(
  'voters',
  { tenant: text().notNull().default('default'), name: text().notNull(), created_at: createdAt() },
  (table) => [primaryKey({ columns: [table.tenant, table.name] })],
);

/** People who are asked to rate. They sign in with an invitation (shared/access/raters.ts). */
export const raters = pgTable(
  'raters',
  {
    id: text().primaryKey(),
    name: text().notNull(),
    skills: text().array().notNull(),
    active: boolean().notNull().default(true),
    /** the last time: earlier sessions stay over when the rater is active again */
    deactivated_at: timestamp({ withTimezone: true, mode: 'date' }),
    ...ownedBy(),
    erased_at: erasedAt(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [
    index('raters_tenant').on(table.tenant, table.id),
    index('raters_order').on(table.tenant, table.xid, table.id),
  ],
);

/** Links that sign a browser in as a rater, once. A hash of the token is kept. */
export const invitations = pgTable(
  'invitations',
  {
    id: text().primaryKey(),
    secret_hash: text().notNull(),
    rater_id: text()
      .notNull()
      .references(() => raters.id),
    expires_at: timestamp({ withTimezone: true, mode: 'date' }).notNull(),
    used_at: timestamp({ withTimezone: true, mode: 'date' }),
    ...ownedBy(),
    created_at: createdAt(),
  },
  (table) => [index('invitations_rater').on(table.rater_id)],
);

/** What raters are asked to compare (shared/queues/). */
export const queues = pgTable(
  'queues',
  {
    id: text().primaryKey(),
    name: text().notNull(),
    status: text().$type<'open' | 'closed'>().notNull().default('open'),
    settings: json<QueueSettings>().notNull(),
    /** the newest of queue_guidelines */
    guidelines_version: integer().notNull(),
    ...ownedBy(),
    erased_at: erasedAt(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [
    uniqueIndex('queues_name').on(table.tenant, table.name),
    index('queues_order').on(table.tenant, table.xid, table.id),
    check('queues_status', sql`status in ('open', 'closed')`),
  ],
);

/** Append-only. A vote says by which version it was given. */
export const queue_guidelines = pgTable(
  'queue_guidelines',
  {
    queue_id: text()
      .notNull()
      .references(() => queues.id),
    version: integer().notNull(),
    /** Markdown */
    text: text().notNull(),
    created_by: text().notNull(),
    created_at: createdAt(),
  },
  (table) => [primaryKey({ columns: [table.queue_id, table.version] })],
);

/** `rated`: to be voted on; `gold` and `calibration`: its answer is known, and votes on it measure the rater. */
export type QueueItemKind = 'rated' | 'gold' | 'calibration';

/** `pending`: its sides are generated when it is first reserved; `dropped`: its sides are nearly the same. */
export type QueueItemState = 'pending' | 'open' | 'done' | 'dropped';

/** Prompts of a queue, with the comparisons made of them. */
export const queue_items = pgTable(
  'queue_items',
  {
    id: text().primaryKey(),
    queue_id: text()
      .notNull()
      .references(() => queues.id),
    kind: text().$type<QueueItemKind>().notNull().default('rated'),
    state: text().$type<QueueItemState>().notNull().default('pending'),
    prompt: json<Prompt>().notNull(),
    /** SHA-256 of the prompt, of the sides if they are given, and of the right choice if there is one: a queue has an item once */
    content_hash: text().notNull(),
    /** the group of prompts that it is from; items are chosen evenly over groups */
    prompt_group: text().notNull().default(''),
    /** a given response, which a fresh one is compared with */
    given: text(),
    comparison_id: text().references(() => comparisons.id),
    /** the right choice, in terms of the comparison's sides; null: there is none */
    expected: text().$type<Choice>(),
    /** shown to raters with the answer, in calibration */
    explanation: text(),
    /** why it was dropped */
    reason: text(),
    /** the completion whose prompt was drawn from real traffic */
    drawn_from: text(),
    /** votes, without skips and those that were requeued */
    reviews: integer().notNull().default(0),
    skips: integer().notNull().default(0),
    redacted: isRedacted(),
    ...ownedBy(),
    erased_at: erasedAt(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [
    uniqueIndex('queue_items_once').on(table.queue_id, table.content_hash),
    index('queue_items_next').on(table.queue_id, table.kind, table.state, table.reviews),
    index('queue_items_tenant').on(table.tenant, table.id),
    index('queue_items_order').on(table.tenant, table.xid, table.id),
    index('queue_items_comparison').on(table.comparison_id),
    index('queue_items_drawn').on(table.drawn_from).where(sql`drawn_from is not null`),
    check('queue_items_kind', sql`kind in ('rated', 'gold', 'calibration')`),
    check('queue_items_state', sql`state in ('pending', 'open', 'done', 'dropped')`),
  ],
);

/** What a rater is asked on a reserved item: a vote that counts, or one that measures the rater and is not trained on. */
export type ReservationPurpose = 'vote' | 'gold' | 'calibration' | 'repeat';

export type ReservationState = 'open' | 'voted' | 'skipped' | 'lapsed';

/** What a rater says besides the choice and its strength. */
export type Remarks = { tags: string[]; comment: string | null; edit: string | null };

/** An item given to a rater until it expires. Votes that measure the rater are kept here, all others as preferences. */
export const reservations = pgTable(
  'reservations',
  {
    id: text().primaryKey(),
    queue_id: text()
      .notNull()
      .references(() => queues.id),
    item_id: text()
      .notNull()
      .references(() => queue_items.id),
    /** as preferences.rater names them */
    rater: text().notNull(),
    purpose: text().$type<ReservationPurpose>().notNull().default('vote'),
    state: text().$type<ReservationState>().notNull().default('open'),
    /** whether side a of the comparison is shown as b */
    swapped: boolean().notNull(),
    /** with which this item was selected, of those that could be */
    probability: real().notNull(),
    guidelines_version: integer().notNull(),
    expires_at: timestamp({ withTimezone: true, mode: 'date' }).notNull(),
    finished_at: timestamp({ withTimezone: true, mode: 'date' }),
    /** whether its vote no longer counts to the reviews of its item, because an operator asked for another one */
    requeued: boolean().notNull().default(false),
    /** of a vote that measures the rater, in terms of the comparison's sides; otherwise null, as the next three */
    choice: text().$type<Choice>(),
    strength: text().$type<Strength>(),
    seconds: real(),
    remarks: json<Remarks>(),
    ...ownedBy(),
    erased_at: erasedAt(),
    created_at: createdAt(),
  },
  (table) => [
    index('reservations_rater').on(table.queue_id, table.rater, table.id),
    index('reservations_item').on(table.item_id),
    index('reservations_open').on(table.queue_id, table.expires_at).where(sql`state = 'open'`),
    check('reservations_purpose', sql`purpose in ('vote', 'gold', 'calibration', 'repeat')`),
    check('reservations_state', sql`state in ('open', 'voted', 'skipped', 'lapsed')`),
  ],
);

/** How a rater stands in a queue. */
export const queue_raters = pgTable(
  'queue_raters',
  {
    queue_id: text()
      .notNull()
      .references(() => queues.id),
    rater: text().notNull(),
    calibrated_at: timestamp({ withTimezone: true, mode: 'date' }),
    paused_at: timestamp({ withTimezone: true, mode: 'date' }),
    /** why, as the rater is shown it */
    paused_reason: text(),
    /** the last time: gold items from before do not pause the rater again */
    resumed_at: timestamp({ withTimezone: true, mode: 'date' }),
    created_at: createdAt(),
  },
  (table) => [primaryKey({ columns: [table.queue_id, table.rater] })],
);

/** What users of a product say about one generation; the last word of a rater of one key on it (shared/feedback/). */
export const feedback = pgTable(
  'feedback',
  {
    id: text().primaryKey(),
    generation_id: text()
      .notNull()
      .references(() => generations.id),
    rater: text().notNull(),
    thumb: integer().$type<1 | -1>(),
    /** from 0 to 1 */
    score: real(),
    comment: text(),
    tags: text().array().notNull().default(sql`'{}'`),
    /** a better response, and the preference for it over the generation */
    demonstration: text(),
    preference_id: text(),
    redacted: isRedacted(),
    ...ownedBy(),
    erased_at: erasedAt(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [
    uniqueIndex('feedback_one_per_rater').on(table.generation_id, table.rater, table.created_by),
    index('feedback_tenant').on(table.tenant, table.id),
    index('feedback_order').on(table.tenant, table.xid, table.id),
    check('feedback_thumb', sql`thumb in (-1, 1)`),
    check('feedback_score', sql`score between 0 and 1`),
  ],
);

/** Random texts that this database's processes share: they sign sessions, and select held-out prompts. */
export const secrets = pgTable('secrets', {
  name: text().$type<'session' | 'held_out'>().primaryKey(),
  value: text().notNull(),
  created_at: createdAt(),
});

/** Keys that administrators create. The text of a key is shown once; a hash of its secret is kept (shared/access/token.ts). */
export const api_keys = pgTable(
  'api_keys',
  {
    id: text().primaryKey(),
    secret_hash: text().notNull(),
    name: text().notNull(),
    tenant: text().notNull(),
    scopes: text().array().$type<Scope[]>().notNull(),
    /** null: the server's setting */
    requests_per_minute: integer(),
    tokens_per_minute: integer(),
    concurrent_generations: integer(),
    /** completions, comparisons and preferences */
    rows_per_day: integer(),
    expires_at: timestamp({ withTimezone: true, mode: 'date' }),
    revoked_at: timestamp({ withTimezone: true, mode: 'date' }),
    /** to the minute */
    last_used_at: timestamp({ withTimezone: true, mode: 'date' }),
    /** the id of the key that created it, `anonymous`, or `command` */
    created_by: text().notNull(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [index('api_keys_order').on(table.xid, table.id)],
);

/** Rows that keys with rows_per_day have stored, by day (UTC). */
export const key_usage = pgTable(
  'key_usage',
  { key_id: text().notNull(), day: date({ mode: 'string' }).notNull(), rows: integer().notNull() },
  (table) => [primaryKey({ columns: [table.key_id, table.day] })],
);

/**
 * What was erased, without what it was: a subject is kept as its SHA-256 (shared/erasure/). Its rows have the time of its
 * creation, of which there is one erasure only, as erased_at.
 */
export const erasures = pgTable(
  'erasures',
  {
    id: text().primaryKey(),
    subject: text().$type<ErasureSubject>().notNull(),
    subject_hash: text().notNull(),
    counts: json<ErasureCounts>().notNull(),
    ...ownedBy(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [index('erasures_order').on(table.xid, table.id)],
);

/** How far RETENTION_DAYS has looked: rows up to here are gone or were voted on. */
export const retention_progress = pgTable('retention_progress', {
  kind: text().primaryKey(),
  after_id: text().notNull(),
});

/** Append-only: who did what to what (shared/access/audit.ts). */
export const audit_events = pgTable(
  'audit_events',
  {
    id: text().primaryKey(),
    actor: text().notNull(),
    action: text().notNull(),
    target: text().notNull(),
    details: json<Record<string, unknown>>().notNull(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [
    index('audit_events_order').on(table.xid, table.id),
    // What people filter the list by.
    index('audit_events_action').on(table.action, table.id),
    index('audit_events_actor').on(table.actor, table.id),
    index('audit_events_target').on(table.target, table.id),
    index('audit_events_created').on(table.created_at),
  ],
);

/** Responses by Idempotency-Key or body id, replayed until they expire. Keys of different callers are independent. */
export const idempotency_keys = pgTable(
  'idempotency_keys',
  {
    /** the id of the API key; `anonymous` without one */
    caller: text().notNull().default('anonymous'),
    operation: text().notNull(),
    key: text().notNull(),
    request_hash: text().notNull(),
    /** as text: jsonb orders keys, and accepts no NUL, which the text of a token may be */
    response: json<unknown>('json').notNull(),
    tenant: text().notNull().default('default'),
    /** ids in the response, by which an erasure finds it */
    resource_ids: text().array().notNull().default(sql`'{}'`),
    created_at: createdAt(),
  },
  (table) => [
    primaryKey({ columns: [table.caller, table.operation, table.key] }),
    index('idempotency_keys_resources').using('gin', table.resource_ids),
    index('idempotency_keys_created').on(table.created_at),
  ],
);

/** Cache of the reference's log-probability of each response token of a pair, by a hash of its inputs. */
export const reference_logps = pgTable('reference_logps', {
  fingerprint: text().primaryKey(),
  reference_id: text().notNull(),
  chosen_logps: reals().notNull(),
  rejected_logps: reals().notNull(),
  created_at: createdAt(),
});

export const rounds = pgTable(
  'rounds',
  {
    id: text().primaryKey(),
    status: text().$type<RoundStatus>().notNull().default('queued'),
    stage: text().$type<RoundStage>().notNull().default('queued'),
    /** dil trains a policy, reward a reward */
    method: text().$type<RoundMethod>().notNull().default('dil'),
    trigger: text().$type<'schedule' | 'api' | 'command'>().notNull(),
    settings: json<Partial<Hyperparameters>>().notNull(),
    /** trains the first policy of the line on everything that the active one learned and what is new */
    from_root: boolean().notNull().default(false),
    /** what a round would do, without doing it: it ends at stage `previewed`, with `preview` */
    dry_run: boolean().notNull().default(false),
    /** of a dry run: its lines, in order */
    preview: json<PreviewLine[]>(),
    /** where a running round is, and how long the rest takes; null before the first report */
    progress: json<RoundProgress>(),
    /** the frozen policy that log-ratios are against: the root, or the parent */
    reference_id: text(),
    /** the policy that it starts from */
    parent_id: text(),
    /** the policy that was active when it began: its policy must be better, and replaces it; the parent, unless from_root */
    baseline_id: text(),
    /** the published policy or reward; null before publishing and if the gate refused it */
    policy_id: text(),
    pairs: json<PairCounts>(),
    /** who its pairs are from, and which limits of a rater's or a source's share they met */
    origins: json<PairOrigins>(),
    metrics: json<Record<string, number>>(),
    /** null until the round is evaluated */
    gate: json<GateReport>(),
    /** null until the round is evaluated */
    earlier_rounds: json<EarlierRound[]>(),
    /** why it failed, or what the gate said; why a canary of its policy ended is in the canary's row */
    reason: text(),
    /** how many times a trainer has begun this round; each one after the first resumed it after a crash */
    attempts: integer().notNull().default(0),
    /** token of the trainer that runs the round; another trainer's writes are refused */
    owner: text(),
    created_at: createdAt(),
    started_at: timestamp({ withTimezone: true, mode: 'date' }),
    finished_at: timestamp({ withTimezone: true, mode: 'date' }),
    xid: insertedBy(),
  },
  (table) => [
    index('rounds_order').on(table.xid, table.id),
    index('rounds_parent').on(table.parent_id, table.id),
    // The trainer and the schedule look for queued and running ones, which are few.
    index('rounds_by_status').on(table.status, table.id),
    // Enforces one round at a time.
    uniqueIndex('rounds_one_running').on(table.status).where(sql`status = 'running'`),
    check('rounds_status', sql`status in ('queued', 'running', 'succeeded', 'failed', 'cancelled')`),
    check('rounds_method', sql`method in ('dil', 'reward')`),
  ],
);

/** The pairs of a round. */
export const round_pairs = pgTable(
  'round_pairs',
  {
    round_id: text()
      .notNull()
      .references(() => rounds.id),
    preference_id: text()
      .notNull()
      .references(() => preferences.id),
    split: text().$type<'train' | 'held_out'>().notNull(),
    replay: boolean().notNull(),
    /** whether it was neither trained on nor evaluated, because a rater or a key would have had too large a share */
    left_out: boolean().notNull().default(false),
  },
  (table) => [
    primaryKey({ columns: [table.round_id, table.preference_id] }),
    index('round_pairs_preference').on(table.preference_id),
  ],
);

export const round_events = pgTable(
  'round_events',
  {
    id: bigserial({ mode: 'number' }).primaryKey(),
    round_id: text()
      .notNull()
      .references(() => rounds.id),
    level: text().$type<'info' | 'warn' | 'error'>().notNull(),
    type: text().$type<'message' | 'metrics' | 'stage'>().notNull(),
    message: text().notNull(),
    data: json<Record<string, unknown>>(),
    created_at: createdAt(),
  },
  (table) => [index('round_events_round').on(table.round_id, table.id)],
);

export const round_metrics = pgTable(
  'round_metrics',
  {
    round_id: text()
      .notNull()
      .references(() => rounds.id),
    step: integer().notNull(),
    split: text().$type<'train' | 'held_out'>().notNull(),
    values: json<Record<string, number>>().notNull(),
    /** per pair, mean log-probability per token, for the histograms */
    logps: json<{ chosen: number[]; rejected: number[] }>(),
    created_at: createdAt(),
  },
  (table) => [primaryKey({ columns: [table.round_id, table.step, table.split] })],
);

/**
 * `running`: gets a share of the traffic, beside the baseline. `watching`: is active, and may still be rolled back. The others
 * are final: `kept` after its watch, `rolled_back` by votes or a guard, `expired` undecided, `cancelled` by an operator.
 */
export const CANARY_STATES = ['running', 'watching', 'kept', 'rolled_back', 'expired', 'cancelled'] as const;
export type CanaryState = (typeof CANARY_STATES)[number];

/** A policy tried against the one that it is to replace (shared/canary/). */
export const canaries = pgTable(
  'canaries',
  {
    id: text().primaryKey(),
    /** the candidate */
    policy_id: text()
      .notNull()
      .references(() => policies.id),
    /** the policy that was active when it began, which takes over again after a rollback */
    baseline_id: text()
      .notNull()
      .references(() => policies.id),
    /** the round that published the candidate; null if an operator chose it */
    round_id: text().references(() => rounds.id),
    state: text().$type<CanaryState>().notNull(),
    /** of the completions, while running */
    share: real().notNull(),
    /** why it is in its state, in a sentence */
    reason: text(),
    /** of the activation that it watches */
    promoted_at: timestamp({ withTimezone: true, mode: 'date' }),
    ended_at: timestamp({ withTimezone: true, mode: 'date' }),
    created_by: text().notNull(),
    created_at: createdAt(),
    xid: insertedBy(),
  },
  (table) => [
    index('canaries_order').on(table.xid, table.id),
    index('canaries_policy').on(table.policy_id, table.id),
    // At most one of each.
    uniqueIndex('canaries_one_running').on(table.state).where(sql`state = 'running'`),
    uniqueIndex('canaries_one_watching').on(table.state).where(sql`state = 'watching'`),
    check('canaries_state', sql`state in ('running', 'watching', 'kept', 'rolled_back', 'expired', 'cancelled')`),
    check('canaries_share', sql`share between 0 and 1`),
  ],
);

const sum = () => doublePrecision().notNull().default(0);
const tally = () => bigint({ mode: 'number' }).notNull().default(0);

/**
 * What a policy served, by minute: counts, sums and sums of squares, which every process adds to. Guards compare policies by
 * it, and the console draws traffic from it. Kept for thirty days.
 */
export const policy_minutes = pgTable(
  'policy_minutes',
  {
    policy_id: text().notNull(),
    /** its beginning */
    minute: timestamp({ withTimezone: true, mode: 'date' }).notNull(),
    /** completions that were begun, and those that failed by the server's fault */
    requests: tally(),
    errors: tally(),
    /** attempts of a process to load the policy that failed */
    load_failures: tally(),
    prompt_tokens: tally(),
    completion_tokens: tally(),
    /** of whole completions, in seconds */
    seconds: sum(),
    /** completions with a first token, and its time in log seconds */
    first_tokens: tally(),
    first_token_log: sum(),
    first_token_log_squares: sum(),
    /** responses that ended by themselves or by their length; what follows is of them */
    responses: tally(),
    length_stops: tally(),
    empty: tally(),
    /** log(1 + tokens) */
    length_log: sum(),
    length_log_squares: sum(),
    /** share of repeated 4-grams of tokens, from 0 to 1 */
    repetition: sum(),
    repetition_squares: sum(),
  },
  (table) => [
    primaryKey({ columns: [table.policy_id, table.minute] }),
    index('policy_minutes_minute').on(table.minute),
  ],
);

/** When a part of the system that can be missed was last there: `trainer`; and when a process last decided about canaries. */
export const heartbeats = pgTable('heartbeats', {
  name: text().$type<'trainer' | 'canary'>().primaryKey(),
  seen_at: timestamp({ withTimezone: true, mode: 'date' }).notNull(),
});

/**
 * A condition that operators are told of once: since when it holds, and when they were told; null: it was found once, at
 * `since`, and waits to be found again. The row goes when it ends.
 */
export const alerts = pgTable('alerts', {
  name: text().$type<'gate_refusals' | 'no_new_pairs' | 'trainer_missing'>().primaryKey(),
  since: timestamp({ withTimezone: true, mode: 'date' }).notNull(),
  raised_at: timestamp({ withTimezone: true, mode: 'date' }),
});

export const WEBHOOK_TYPES = [
  'policy.activated',
  'policy.rolled_back',
  'canary.started',
  'canary.promoted',
  'canary.ended',
  'round.succeeded',
  'round.failed',
  'round.cancelled',
  'gate.refused_repeatedly',
  'rater.paused',
  'pairs.none_new',
  'trainer.missing',
] as const;
export type WebhookType = (typeof WEBHOOK_TYPES)[number];

/**
 * Outbox of WEBHOOK_URL: an event is inserted in the transaction of the change that it reports. Rows stay for three days,
 * delivered or not (shared/webhooks/event.ts).
 */
export const webhook_events = pgTable(
  'webhook_events',
  {
    id: text().primaryKey(),
    type: text().$type<WebhookType>().notNull(),
    data: json<Record<string, unknown>>().notNull(),
    attempts: integer().notNull().default(0),
    /** Time of the next attempt. A claim moves it ahead of the attempt, so that a deliverer that dies only delays it. */
    next_at: timestamp({ withTimezone: true, mode: 'date' }).notNull().defaultNow(),
    delivered_at: timestamp({ withTimezone: true, mode: 'date' }),
    given_up_at: timestamp({ withTimezone: true, mode: 'date' }),
    last_error: text(),
    created_at: createdAt(),
  },
  (table) => [index('webhook_events_due').on(table.next_at).where(sql`delivered_at is null and given_up_at is null`)],
);

/** Responses of all Workers, for GET /metrics: isolates cannot be scraped. One row per histogram bucket. */
export const answer_counts = pgTable(
  'answer_counts',
  {
    method: text().notNull(),
    route: text().notNull(),
    status: integer().notNull(),
    /** index of the bucket in edge/metrics/definitions.ts; one past the last: slower responses */
    bucket: integer().notNull(),
    count: bigint({ mode: 'number' }).notNull(),
    seconds: doublePrecision().notNull(),
  },
  (table) => [primaryKey({ columns: [table.method, table.route, table.status, table.bucket] })],
);

/** Ids of queue messages counted in answer_counts, kept for a day: a queue may deliver a message twice. */
export const answer_batches = pgTable(
  'answer_batches',
  { id: text().primaryKey(), created_at: createdAt() },
  (table) => [index('answer_batches_created').on(table.created_at)],
);
