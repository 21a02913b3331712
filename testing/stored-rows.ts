// Rows as the API stores them, for tests of what is erased, deleted or selected.
import type { Database } from '../shared/database/connect.ts';
import { type Choice, comparisons, completions, generations, preferences } from '../shared/database/schema.ts';
import { newId } from '../shared/id.ts';

type CompletionFields = Partial<typeof completions.$inferInsert>;
type PreferenceFields = Partial<typeof preferences.$inferInsert>;

/** A completion with choices of this text, and their ids: the first is the completion's. */
export async function storeCompletion(db: Database, text: string, fields: CompletionFields = {}, choices = 1) {
  const isChat = (fields.kind ?? 'chat') === 'chat';
  const ids = Array.from({ length: choices }, () => newId(isChat ? 'chatcmpl-' : 'cmpl-'));
  const id = fields.id ?? ids[0]!;
  ids[0] = id;
  const shared = { prompt: text, prompt_token_ids: [1], sampling: { stop: [text] }, seed: 1, metadata: { text } };
  await db.insert(completions).values({ kind: 'chat', policy_id: 'pol_1', ...shared, ...fields, id });
  await db.insert(generations).values(
    ids.map((own, choice) => {
      return { id: own, completion_id: id, choice, text, token_ids: [7], logps: [-1], finish_reason: 'stop' };
    }),
  );
  return ids;
}

/** A comparison of two choices made for it, and the ids of these. */
export async function storeComparison(
  db: Database,
  text: string,
  fields: CompletionFields = {},
  id: string = newId('cmp_'),
): Promise<{ id: string; sides: string[] }> {
  const sides = await storeCompletion(db, text, { ...fields, id: undefined, kind: 'comparison' }, 2);
  const { tenant, created_by } = fields;
  await db.insert(comparisons).values({
    id,
    prompt: text,
    a_generation_id: sides[0]!,
    b_generation_id: sides[1]!,
    swapped: false,
    metadata: { text },
    ...(tenant ? { tenant } : {}),
    ...(created_by ? { created_by } : {}),
  });
  return { id, sides };
}

export async function storePreference(db: Database, text: string, fields: PreferenceFields = {}): Promise<string> {
  const id = newId('pref_');
  const sides = { prompt: text, chosen: `${text} yes`, rejected: `${text} no` };
  const row = { id, source: 'raw', choice: 'a', rater: 'ann', content_hash: id, metadata: { text } } as const;
  await db.insert(preferences).values({ ...row, ...sides, ...fields });
  return id;
}

/** A vote on a comparison of two policies. */
export type PolicyVote = {
  a: string;
  b: string;
  choice: Choice;
  rater: string;
  prompt: string;
  textA?: string;
  textB?: string;
  queue?: string;
  /** the canary whose policies are a and b */
  canary?: string;
  created_at?: Date;
};

/** Each on a comparison of its own. */
export async function storePolicyVotes(db: Database, tenant: string, votes: readonly PolicyVote[]): Promise<void> {
  const rows = votes.map((vote) => ({
    ...vote,
    comparison: newId('cmp_'),
    sides: [
      { id: newId('cmpl-'), policy_id: vote.a, text: vote.textA ?? 'yes' },
      { id: newId('cmpl-'), policy_id: vote.b, text: vote.textB ?? 'no' },
    ] as const,
  }));
  const shared = { kind: 'comparison' as const, prompt_token_ids: [1], sampling: {}, seed: 1, tenant };
  await db
    .insert(completions)
    .values(
      rows.flatMap(({ sides, prompt }) => sides.map(({ id, policy_id }) => ({ id, policy_id, prompt, ...shared }))),
    );
  const generated = { choice: 0, token_ids: [7], logps: [-1], finish_reason: 'stop' };
  await db
    .insert(generations)
    .values(rows.flatMap(({ sides }) => sides.map(({ id, text }) => ({ id, completion_id: id, text, ...generated }))));
  await db.insert(comparisons).values(
    rows.map(({ comparison: id, sides: [a, b], prompt, queue: queue_id, canary: canary_id }) => {
      return { id, prompt, a_generation_id: a.id, b_generation_id: b.id, swapped: false, queue_id, canary_id, tenant };
    }),
  );
  await db.insert(preferences).values(
    rows.map(({ comparison: comparison_id, sides: [a, b], choice, rater, prompt, created_at }) => {
      const id = newId('pref_');
      const texts = { prompt, chosen: 'yes', rejected: 'no', content_hash: id };
      const [chosen, rejected] = choice === 'b' ? [b, a] : [a, b];
      const generations = { chosen_generation_id: chosen.id, rejected_generation_id: rejected.id };
      const vote = { id, source: 'comparison' as const, comparison_id, choice, rater, tenant, created_at };
      return { ...vote, ...texts, ...generations };
    }),
  );
}

/** The tables with a row that has this text anywhere. */
export async function listTablesWith(db: Database, text: string): Promise<string[]> {
  const tables = await db.execute<{ name: string }>(`
    select format('%I.%I', table_schema, table_name) as name from information_schema.tables
    where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema') order by name`);
  const found: string[] = [];
  for (const { name } of tables) {
    const pattern = `%${text}%`.replaceAll("'", "''");
    const rows = await db.execute(`select 1 from ${name} as entry where entry::text like '${pattern}' limit 1`);
    if (rows.length > 0) found.push(name);
  }
  return found;
}
