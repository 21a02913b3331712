// Fills an empty database as if votes and rounds had gone on for a year, by a few statements of SQL. Half of the
// preferences are votes on comparisons, half are imported; all but the newest NEW_PAIRS were learned, ROUND_PAIRS a round.

import postgres, { type Sql } from 'postgres';
import type { Connection } from '../../shared/database/connect.ts';
import { activatePolicy } from '../../shared/store/registry.ts';
import type { Progress } from '../report/progress.ts';

export const NEW_PAIRS = 5000;
const ROUND_PAIRS = 40;
/** Of these, one in 50 is a tie. The rows of a smaller database would not fill the replay and a hundred pages. */
export const MIN_ROWS = 10_000;
const STEPS = 25;
const YEAR_MS = 365 * 24 * 3600 * 1000;

/** `policyId`: a registered policy, which becomes the last of the lineage and the active one. */
export async function fillDatabase(
  { url, db }: Connection,
  { rows, votes, policyId, progress }: { rows: number; votes: number; policyId: string; progress: Progress },
): Promise<void> {
  // Temporary functions and settings belong to one connection.
  const session = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await prepareSession(session, rows, policyId);
    const learned = rows - NEW_PAIRS;
    const step = Math.ceil(rows / STEPS / ROUND_PAIRS) * ROUND_PAIRS;
    await addFirstPolicy(session);
    for (let from = 0; from < rows; from += step) {
      const to = Math.min(rows, from + step);
      await addComparisons(session, from, to);
      await addPreferences(session, from, to);
      if (from < learned) {
        await addRounds(session, from, Math.min(to, learned));
        const [last] = await session<{ id: string }[]>`select pg_temp.policy(${Math.min(to, learned)}) as id`;
        await activatePolicy(db, last!.id, 'bench');
        // As often as autovacuum would have, had it taken a year.
        await session`vacuum new_pairs, preference_counts`;
      }
      progress.set(to);
    }
    await addComparisons(session, rows, rows + 2 * votes);
    await addRefusedRound(session, learned);
    await session`vacuum analyze`;
  } finally {
    await session.end();
  }
}

/** Ids as newId makes them, at even distances over a year, so that rows can name each other without being read. */
async function prepareSession(sql: Sql, rows: number, policyId: string): Promise<void> {
  const firstMs = Date.now() - YEAR_MS;
  const stepMs = Math.floor(YEAR_MS / (rows + MIN_ROWS));
  await sql.unsafe(`
    create function pg_temp.id(prefix text, at bigint) returns text immutable language sql return
      prefix || lpad(to_hex(${firstMs} + at * ${stepMs}), 12, '0') || '7' || substr(md5(prefix || at), 1, 19);
    create function pg_temp.policy(at bigint) returns text immutable language sql return
      case when at < ${rows - NEW_PAIRS} then pg_temp.id('pol_', at / ${ROUND_PAIRS} * ${ROUND_PAIRS}) else '${policyId}' end;
    create function pg_temp.response(at bigint) returns text immutable language sql return
      at || repeat(' Once upon a time there was a little girl who lived near a lake.', 4);
    create function pg_temp.tokens(at bigint, length int) returns int[] immutable language sql return
      array_fill((at % 200)::int, array[length]);`);
  // Foreign keys hold by construction and are not checked, but the trigger that counts preferences runs.
  await sql`set session_replication_role = replica`;
  await sql`set synchronous_commit = off`;
  await sql`alter table preferences enable always trigger preferences_inserted`;
}

/** At every even row two choices of one completion and their comparison, at every fourth also a chat completion. */
async function addComparisons(sql: Sql, from: number, to: number): Promise<void> {
  await sql`
    insert into completions (id, kind, policy_id, prompt, prompt_token_ids, sampling, seed)
    select
      pg_temp.id(prefix, at), kind, pg_temp.policy(at), to_jsonb('Story ' || pg_temp.response(at)),
      pg_temp.tokens(at, 48), '{"temperature": 1, "max_tokens": 64}', at
    from generate_series(${from}::bigint, ${to - 1}, 2) as at,
      (values ('cmpl-', 'comparison', 2), ('chatcmpl-', 'chat', 4)) as kinds (prefix, kind, every)
    where at % every = 0`;
  await sql`
    insert into generations (id, completion_id, choice, text, token_ids, logps, finish_reason)
    select
      pg_temp.id(prefix, at + choice), pg_temp.id(prefix, at), choice, pg_temp.response(at + choice),
      pg_temp.tokens(at, 64), array_fill(-1.5::real, array[64]), 'stop'
    from generate_series(${from}::bigint, ${to - 1}, 2) as at,
      (values ('cmpl-', 0, 2), ('cmpl-', 1, 2), ('chatcmpl-', 0, 4)) as choices (prefix, choice, every)
    where at % every = 0`;
  await sql`
    insert into comparisons (id, prompt, a_generation_id, b_generation_id, swapped)
    select
      pg_temp.id('cmp_', at), to_jsonb('Story ' || pg_temp.response(at)),
      pg_temp.id('cmpl-', at), pg_temp.id('cmpl-', at + 1), false
    from generate_series(${from}::bigint, ${to - 1}, 2) as at`;
}

async function addPreferences(sql: Sql, from: number, to: number): Promise<void> {
  await sql`
    insert into preferences (
      id, source, comparison_id, choice, rater, prompt, chosen, rejected, chosen_generation_id, rejected_generation_id,
      content_hash
    )
    select
      pg_temp.id('pref_', at), case when vote then 'comparison' else 'import' end,
      case when vote then pg_temp.id('cmp_', at) end, case when at % 50 = 49 then 'tie' else 'a' end, 'rater ' || at / 100,
      to_jsonb('Story ' || pg_temp.response(at)), pg_temp.response(at), pg_temp.response(at + 1),
      case when vote then pg_temp.id('cmpl-', at) end, case when vote then pg_temp.id('cmpl-', at + 1) end,
      md5('a' || at) || md5('b' || at)
    from (select at, at % 2 = 0 as vote from generate_series(${from}::bigint, ${to - 1}) as at) as series`;
}

async function addFirstPolicy(sql: Sql): Promise<void> {
  await sql`insert into policies (id, name, manifest) values (pg_temp.policy(0), 'bench', '{}')`;
}

/** A round learns ROUND_PAIRS preferences and replays half of those before; its policy is the next one's parent. */
async function addRounds(sql: Sql, from: number, to: number): Promise<void> {
  await sql`
    insert into rounds (id, status, stage, trigger, settings, parent_id, policy_id, pairs, metrics, reason)
    select
      pg_temp.id('round_', at), 'succeeded', 'active', 'schedule', '{}', pg_temp.policy(at - ${ROUND_PAIRS}),
      pg_temp.policy(at), jsonb_build_object('train', ${ROUND_PAIRS}::int), jsonb_build_object('loss', -0.5),
      repeat('reason ', 20)
    from generate_series(${from + ROUND_PAIRS}::bigint, ${to}, ${ROUND_PAIRS}) as at`;
  await sql`
    insert into policies (id, name, parent_id, round_id, manifest)
    select
      pg_temp.policy(at), 'bench', pg_temp.policy(at - ${ROUND_PAIRS}), pg_temp.id('round_', at),
      jsonb_build_object('files', repeat('x', 2000))
    from generate_series(${from + ROUND_PAIRS}::bigint, ${to}, ${ROUND_PAIRS}) as at
    on conflict (id) do update set parent_id = excluded.parent_id, round_id = excluded.round_id`;
  await addPairs(sql, from, to);
}

/** The last round, from the active policy. */
async function addRefusedRound(sql: Sql, learned: number): Promise<void> {
  await sql`
    insert into rounds (id, status, stage, trigger, settings, parent_id)
    values (pg_temp.id('round_', ${learned + ROUND_PAIRS}), 'succeeded', 'refused', 'schedule', '{}', pg_temp.policy(${learned}))`;
  await addPairs(sql, learned, learned + ROUND_PAIRS);
}

async function addPairs(sql: Sql, from: number, to: number): Promise<void> {
  await sql`
    insert into round_pairs (round_id, preference_id, split, replay)
    select pg_temp.id('round_', at), pg_temp.id('pref_', pair), 'train', replay
    from (
      select at, at - ${ROUND_PAIRS} * (case when replay then 2 else 1 end) + nth as pair, replay
      from generate_series(${from + ROUND_PAIRS}::bigint, ${to}, ${ROUND_PAIRS}) as at,
        generate_series(0, ${ROUND_PAIRS - 1}) as nth, (values (false), (true)) as kinds (replay)
    ) as pairs
    where pair >= 0 and pair % 50 <> 49 and (not replay or pair % 2 = 0)`;
}
