// Watches the rounds from inside Postgres: triggers note which trainer made each write to a round, and announce each stage.
// Every start of a trainer has a Postgres role of its own, so that a write names the process that made it.

import type { Sql } from 'postgres';

const LAST_STAGES = ['canary', 'active', 'published', 'refused', 'failed'];
const ROLES = 200;
const PASSWORD = 'torture';

export type RoundAudit = {
  /** The URL for the next start of a trainer. */
  nextUrl(): string;
  /** The role that wrote last. */
  lastWriter(): Promise<string | null>;
  /** Resolves when the round enters the stage; false if it ends before, or after the timeout. */
  waitForStage(round: string, stage: string, timeoutMs: number): Promise<boolean>;
  /** Writes that a trainer made to a round after another one had taken it over. */
  findIntrusions(): Promise<string[]>;
};

export async function installRoundAudit(sql: Sql, databaseUrl: string): Promise<RoundAudit> {
  await sql.unsafe(`
    create table torture_writes (id bigserial primary key, round text, owner text, writer text, what text);
    create function torture_record() returns trigger language plpgsql as $$
    declare
      written jsonb := to_jsonb(new);
      written_round text := coalesce(written->>'round_id', written->>'id');
    begin
      insert into torture_writes (round, owner, writer, what) values (
        written_round,
        case tg_table_name when 'rounds' then written->>'owner' else (select owner from rounds where id = written_round) end,
        session_user, tg_op || ' ' || tg_table_name || ' ' || coalesce(written->>'stage', written->>'message', ''));
      if tg_table_name = 'rounds' then
        perform pg_notify('torture_stages', written_round || ' ' || coalesce(written->>'stage', ''));
      end if;
      return null;
    end $$;
    create trigger torture after update on rounds for each row execute function torture_record();
    create trigger torture after insert on round_events for each row execute function torture_record();
    create trigger torture after insert on round_metrics for each row execute function torture_record();
    create trigger torture after insert on policies for each row
      when (new.round_id is not null) execute function torture_record();
    do $$ begin
      for n in 1..${ROLES} loop execute format('create role trainer_%s superuser login password ''${PASSWORD}''', n); end loop;
    end $$;`);
  const stages = new Set<string>();
  let wake = () => {};
  await sql.listen('torture_stages', (stage) => {
    stages.add(stage);
    wake();
  });
  let starts = 0;
  return {
    nextUrl() {
      const url = new URL(databaseUrl);
      url.username = `trainer_${(starts++ % ROLES) + 1}`;
      url.password = PASSWORD;
      return url.href;
    },
    async lastWriter() {
      const [row] = await sql`select writer from torture_writes where writer like 'trainer_%' order by id desc limit 1`;
      return row?.writer ?? null;
    },
    waitForStage(round, stage, timeoutMs) {
      return new Promise((resolve) => {
        const timer = setTimeout(() => resolve(false), timeoutMs);
        wake = () => {
          const isReached = stages.has(`${round} ${stage}`);
          if (!isReached && !LAST_STAGES.some((last) => stages.has(`${round} ${last}`))) return;
          clearTimeout(timer);
          resolve(isReached);
        };
        wake();
      });
    },
    async findIntrusions() {
      // The trainer that first writes under a new owner has claimed the round with it.
      const rows = await sql`
        with claims as (select distinct on (round, owner) round, owner, writer from torture_writes
          where owner is not null and writer like 'trainer_%' order by round, owner, id)
        select w.round, w.writer, w.what, c.writer as claimant
        from torture_writes w join claims c on c.round = w.round and c.owner = w.owner
        where w.writer like 'trainer_%' and w.writer <> c.writer order by w.id`;
      return rows.map((row) => `${row.writer} wrote "${row.what}" to ${row.round}, which ${row.claimant} had claimed`);
    },
  };
}
