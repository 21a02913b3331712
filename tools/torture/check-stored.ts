// Compares what clients were told with what Postgres has, through a connection of its own.

import type { Sql } from 'postgres';
import type { Sent } from './load.ts';
import type { Kind } from './requests.ts';

export type Verdict = {
  tried: number;
  acknowledged: number;
  /** acknowledged, and no row; or keyed, and never acknowledged */
  lost: number;
  /** more than one row for one request, or one row more than the request makes */
  duplicated: number;
  /** a row with other content or another id than the acknowledged one */
  changed: number;
  /** "nothing was stored", and there is a row */
  wronglyDenied: number;
  late: number;
  /** answered with neither success nor an error that says what to do */
  surprising: number;
  /** Up to five examples of what is wrong, each with the request's mark. */
  examples: string[];
};

type Row = { mark: string; id: string; texts: string[] };

/** Rows by mark, in the form that each kind is acknowledged in. */
async function readRows(sql: Sql): Promise<Record<Kind, Map<string, Row[]>>> {
  const preferences = await sql<(Row & { kind: Kind })[]>`
    select metadata->>'mark' as mark, id, case when comparison_id is null then 'raw' else 'vote' end as kind,
      case when comparison_id is null
        then jsonb_build_array(case jsonb_typeof(prompt) when 'string' then prompt #>> '{}' else prompt::text || ' (not text)' end, chosen, rejected)
        else jsonb_build_array(comparison_id, choice) end as texts
    from preferences where metadata ? 'mark'`;
  const comparisons = await sql<Row[]>`
    select c.metadata->>'mark' as mark, c.id, jsonb_build_array(a.text, b.text) as texts
    from comparisons c join generations a on a.id = a_generation_id join generations b on b.id = b_generation_id
    where c.metadata ? 'mark'`;
  const completions = await sql<Row[]>`
    select c.metadata->>'mark' as mark, c.id, jsonb_build_array(g.text) as texts
    from completions c join generations g on g.completion_id = c.id and g.choice = 0
    where c.metadata ? 'mark'`;
  const byMark = (rows: Row[]) => Map.groupBy(rows, ({ mark }) => mark);
  return {
    raw: byMark(preferences.filter(({ kind }) => kind === 'raw')),
    vote: byMark(preferences.filter(({ kind }) => kind === 'vote')),
    comparison: byMark(comparisons),
    stream: byMark(completions),
  };
}

/** A verdict for each label of the load. */
export async function checkStored(sql: Sql, sent: Sent[]): Promise<Map<string, Verdict>> {
  const rows = await readRows(sql);
  const verdicts = new Map<string, Verdict>();
  for (const [during, group] of Map.groupBy(sent, (item) => item.during)) {
    const verdict: Verdict = {
      ...{
        tried: group.length,
        acknowledged: 0,
        lost: 0,
        duplicated: 0,
        changed: 0,
        wronglyDenied: 0,
        late: 0,
        surprising: 0,
      },
      examples: [],
    };
    for (const item of group) {
      const { kind, mark } = item.request;
      judge(verdict, item, rows[kind].get(mark) ?? []);
      if (kind === 'comparison' && rows.stream.get(mark)?.length !== rows.comparison.get(mark)?.length) {
        verdict.changed++;
        verdict.examples.push(`generations without their comparison (mark ${mark})`);
      }
    }
    verdicts.set(during, verdict);
  }
  return verdicts;
}

function judge(verdict: Verdict, { request, outcome, id, texts, late, surprises }: Sent, rows: Row[]): void {
  const blame = (what: string) => {
    const { kind, key, mark } = request;
    if (verdict.examples.length < 5)
      verdict.examples.push(`${what} (${kind}${key ? ' with a key' : ''}, mark ${mark})`);
  };
  verdict.late += late;
  if (late > 0) blame('over its deadline');
  verdict.surprising += surprises.length;
  if (surprises.length > 0) blame(`answered ${surprises[0]}`);
  if (rows.length > 1) {
    verdict.duplicated++;
    blame(`${rows.length} rows`);
  }
  if (outcome === 'acknowledged') {
    verdict.acknowledged++;
    if (rows.length === 0) {
      verdict.lost++;
      blame(`acknowledged as ${id}, and no row`);
    } else if (rows[0]!.id !== id || JSON.stringify(rows[0]!.texts) !== JSON.stringify(texts)) {
      verdict.changed++;
      blame(
        `acknowledged ${JSON.stringify([id, ...texts])}, stored ${JSON.stringify([rows[0]!.id, ...rows[0]!.texts])}`,
      );
    }
  } else if (request.key !== null) {
    verdict.lost++;
    blame('never acknowledged, although it was repeated with its key');
  } else if (outcome === 'not stored' && rows.length > 0) {
    verdict.wronglyDenied++;
    blame('told that it was not stored, and there is a row');
  }
}

/** Null if nothing is wrong. */
export function describeWrongs(verdict: Verdict): string | null {
  const { lost, duplicated, changed, wronglyDenied, late, surprising, examples } = verdict;
  const counts = { lost, duplicated, changed, 'wrongly "not stored"': wronglyDenied, late, surprising };
  const wrongs = Object.entries(counts).filter(([, count]) => count > 0);
  if (wrongs.length === 0) return null;
  return `${wrongs.map(([name, count]) => `${count} ${name}`).join(', ')}; ${examples.join('; ')}`;
}
