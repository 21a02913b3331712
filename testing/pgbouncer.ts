// PgBouncer in transaction mode in front of a test's Postgres, which is how Hyperdrive pools connections. Debian's version
// does not support named prepared statements, so code that relies on them or on other session state fails. The Debian
// package is unpacked in the user's cache folder, not installed.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import postgres from 'postgres';
import { findFreePort } from '../shared/free-port.ts';
import { waitUntil } from './wait-until.ts';

const CACHE = path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'attune', 'tools', 'pgbouncer');
const PROGRAM = 'usr/sbin/pgbouncer';
const PACKAGES = ['pgbouncer', 'libc-ares2'];
/** PgBouncer refuses to run as root; this is Debian's `nobody`. */
const NOBODY = 65534;

export type PgBouncer = {
  url: string;
  /** Open client connections. */
  countClients(): Promise<number>;
  /** Maximum of open connections from clients and to Postgres, sampled every 20 ms. */
  peak: { clients: number; servers: number };
  /** Call before its Postgres stops. */
  close(): Promise<void>;
};

/** The folder with PgBouncer and its libraries, or the reason why it is missing. */
export function installPgBouncer(): { root: string } | { missing: string } {
  const installed = { root: CACHE };
  if (existsSync(path.join(CACHE, PROGRAM))) return installed;
  mkdirSync(path.dirname(CACHE), { recursive: true });
  const staging = mkdtempSync(`${CACHE}-`);
  try {
    const download = () =>
      spawnSync('apt-get', ['download', '-q', ...PACKAGES], { cwd: staging, encoding: 'utf8', timeout: 120_000 });
    let result = download();
    if (result.status !== 0 && process.getuid?.() === 0) {
      spawnSync('apt-get', ['update', '-q'], { timeout: 180_000 });
      result = download();
    }
    const debs = readdirSync(staging).filter((name) => name.endsWith('.deb'));
    const unpacked = debs.every((deb) => spawnSync('dpkg', ['-x', deb, '.'], { cwd: staging }).status === 0);
    if (result.status !== 0 || debs.length < PACKAGES.length || !unpacked) {
      const reason = result.error?.message ?? result.stderr.trim().split('\n').at(-1) ?? '';
      return {
        missing: `pgbouncer is not available; check that \`apt-get update && apt-get download ${PACKAGES.join(' ')}\` works (it failed with: ${reason})`,
      };
    }
    chmodSync(staging, 0o755);
    renameSync(staging, CACHE);
    return installed;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}

export async function startPgBouncer(
  { root }: { root: string },
  databaseUrl: string,
  size: number,
): Promise<PgBouncer> {
  const { hostname, port, username, password, pathname } = new URL(databaseUrl);
  const listenPort = await findFreePort();
  const folder = await mkdtemp(path.join(tmpdir(), 'attune-pooler-'));
  const uid = process.getuid?.() === 0 ? NOBODY : undefined;
  const ini = path.join(folder, 'pgbouncer.ini');
  const database = pathname.slice(1);
  await writeFile(
    ini,
    `[databases]
${database} = host=${hostname} port=${port} dbname=${database} user=${username} password=${password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${listenPort}
unix_socket_dir =
auth_type = any
admin_users = admin
pool_mode = transaction
default_pool_size = ${size}
max_client_conn = 2000
`,
  );
  // A copy, because another user cannot read root's home.
  await cp(path.join(root, 'usr'), path.join(folder, 'usr'), { recursive: true, verbatimSymlinks: true });
  if (uid !== undefined) for (const item of [folder, ini]) chownSync(item, uid, uid);
  const child: ChildProcess = spawn(path.join(folder, PROGRAM), ['-q', ini], {
    uid,
    gid: uid,
    cwd: '/',
    env: { LD_LIBRARY_PATH: libraryFolders(path.join(folder, 'usr/lib')) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr!.on('data', (chunk) => (stderr += chunk));
  const url = `postgres://${username}:${password}@127.0.0.1:${listenPort}/${database}`;
  const admin = postgres(`postgres://admin@127.0.0.1:${listenPort}/pgbouncer`, { max: 1, fetch_types: false });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const close = async () => {
    clearInterval(watch);
    await admin.end({ timeout: 1 });
    child.kill('SIGKILL');
    await exited;
    await rm(folder, { recursive: true, force: true });
  };
  const show = (topic: string) => admin.unsafe(`show ${topic}`).simple();
  const peak = { clients: 0, servers: 0 };
  const countClients = async () => (await show('clients')).filter((row) => row.database === database).length;
  let watch: NodeJS.Timeout | undefined;
  await waitUntil(() => {
    if (child.exitCode !== null) throw new Error(`pgbouncer exited: ${stderr}`);
    return show('version').then(
      () => true,
      () => false,
    );
  });
  watch = setInterval(async () => {
    const sample = await Promise.all([countClients(), show('servers')]).catch(() => null);
    if (!sample) return;
    peak.clients = Math.max(peak.clients, sample[0]);
    peak.servers = Math.max(peak.servers, sample[1].length);
  }, 20);
  return {
    url,
    countClients,
    peak,
    close,
  };
}

function libraryFolders(root: string): string {
  const machines = readdirSync(root).map((name) => path.join(root, name));
  return machines.join(':');
}
