// Part e: Postgres accepts reads only for some seconds, as a server does that is no longer the primary.

import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { withLoad } from './outage.ts';
import type { Report } from './report.ts';

const READ_ONLY_MS = 4000;

export async function runReadOnly(report: Report): Promise<void> {
  const what = 'Postgres is read-only';
  await withLoad(report, what, {}, async ({ connection, url }) => {
    // One connection, whose session must be able to end it.
    const sql = postgres(connection.url, { max: 1, onnotice: () => {} });
    await sql`set default_transaction_read_only = off`;
    await sql`alter system set default_transaction_read_only = on`;
    await sql`select pg_reload_conf()`;
    await sleep(READ_ONLY_MS);
    const health = await fetch(`${url}/health`);
    if (health.status === 200) report.fail(`${what}: /health says 200`);
    const list = await fetch(`${url}/v1/preferences`);
    if (list.status !== 200) report.fail(`${what}: a list answers ${list.status}`);
    await sql`alter system reset default_transaction_read_only`;
    await sql`select pg_reload_conf()`;
    await sql.end();
  });
}
