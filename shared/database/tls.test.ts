// What sslmode in DATABASE_URL means to both drivers: postgres.js, and pg, which pg-boss runs the schedule with.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chown, copyFile, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { sql } from 'drizzle-orm';
import { openTestDatabase } from '../../testing/database.ts';

const { db, url } = await openTestDatabase();
const folder = await mkdtemp(path.join(tmpdir(), 'attune-tls-'));
after(() => rm(folder, { recursive: true, force: true }));

const openssl = (...args: string[]) => spawnSync('openssl', args, { cwd: folder, encoding: 'utf8' });
const skip = openssl('version').status !== 0 && 'openssl is missing';

/** A certificate authority, and a server certificate for `localhost` that it signed; Postgres uses it. */
async function enableTls(): Promise<void> {
  const subject = ['-subj', '/CN=localhost'];
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-subj',
    '/CN=ca',
  );
  openssl(
    'req',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    'server.key',
    '-out',
    'server.csr',
    ...subject,
    '-addext',
    'subjectAltName=DNS:localhost',
  );
  openssl(
    'x509',
    '-req',
    '-in',
    'server.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '2',
    '-copy_extensions',
    'copy',
    '-out',
    'server.crt',
  );
  const [row] = await db.execute<{ value: string }>(sql`select current_setting('data_directory') as value`);
  const { uid, gid } = await stat(row!.value);
  for (const name of ['server.key', 'server.crt']) {
    const target = path.join(row!.value, name);
    await copyFile(path.join(folder, name), target);
    await chown(target, uid, gid);
  }
  await db.execute(sql`alter system set ssl = on`);
  await db.execute(sql`select pg_reload_conf()`);
}

/** The drivers that connect to this host, in a process of their own, because Node reads NODE_EXTRA_CA_CERTS at its start. */
function connectBoth(host: string, sslmode: string, env: Record<string, string> = {}): Record<string, string> {
  const address = new URL(url);
  address.hostname = host;
  address.searchParams.set('sslmode', sslmode);
  const code = `
    import { connect } from ${JSON.stringify(import.meta.resolve('./connect.ts'))};
    import pg from 'pg';
    const query = 'select ssl::text from pg_stat_ssl where pid = pg_backend_pid()';
    const { db, close } = connect(process.argv[1], { max: 1 });
    const client = new pg.Client({ connectionString: process.argv[1] });
    const results = {
      postgres: await db.execute(query).then(([row]) => row.ssl, ({ code }) => code),
      pg: await client.connect().then(() => client.query(query)).then(({ rows }) => rows[0].ssl, ({ code }) => code),
    };
    console.log(JSON.stringify(results));
    await Promise.allSettled([close(), client.end()]);`;
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', code, address.href], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
  assert.equal(child.status, 0, child.stderr);
  return JSON.parse(child.stdout);
}

test('sslmode=verify-full is checked by both drivers, with the authorities in NODE_EXTRA_CA_CERTS', {
  skip,
}, async () => {
  await enableTls();
  const trusted = { NODE_EXTRA_CA_CERTS: path.join(folder, 'ca.pem') };
  const unknown = 'UNABLE_TO_VERIFY_LEAF_SIGNATURE';
  assert.deepEqual(connectBoth('localhost', 'verify-full'), { postgres: unknown, pg: unknown });
  assert.deepEqual(connectBoth('localhost', 'verify-full', trusted), { postgres: 'true', pg: 'true' });
  // `require` is not the same to both, and with an address postgres.js expects a certificate for localhost.
  assert.deepEqual(connectBoth('localhost', 'require'), { postgres: 'true', pg: unknown });
  assert.equal(connectBoth('127.0.0.1', 'verify-full', trusted).pg, 'ERR_TLS_CERT_ALTNAME_INVALID');
});
