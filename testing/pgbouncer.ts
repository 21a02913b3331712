// PgBouncer in front of a Postgres, for a test: transactions share ten connections, which is how Hyperdrive pools. This
// version knows nothing of named prepared statements: what uses them, or any other state of a session, fails sooner or
// later. Debian's package is unpacked into a folder beside the caches of other programs; nothing is installed.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import postgres from 'postgres';
import { until } from './edge-processes.ts';

const CACHE = path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'attune', 'tools', 'pgbouncer');
const PROGRAM = 'usr/sbin/pgbouncer';
const PACKAGES = ['pgbouncer', 'libc-ares2'];
/** Postgres and poolers refuse to run as root; this is Debian's `nobody`. */
const NOBODY = 65534;

export type Pooler = {
  url: string;
  /** Connections of clients that are open now. */
  clients(): Promise<number>;
  /** The most connections of clients, and to Postgres, that were open at any look. */
  most: { clients: number; servers: number };
  /** To be called before its Postgres is left, which waits for nobody. */
  close(): Promise<void>;
};

/** The folder of the program and the libraries that came with it, or why there is none. */
export function bringPgBouncer(): { root: string } | { missing: string } {
  const found = { root: CACHE };
  if (existsSync(path.join(CACHE, PROGRAM))) return found;
  mkdirSync(path.dirname(CACHE), { recursive: true });
  const draft = mkdtempSync(`${CACHE}-`);
  try {
    const download = () =>
      spawnSync('apt-get', ['download', '-q', ...PACKAGES], { cwd: draft, encoding: 'utf8', timeout: 120_000 });
    let said = download();
    if (said.status !== 0 && process.getuid?.() === 0) {
      spawnSync('apt-get', ['update', '-q'], { timeout: 180_000 });
      said = download();
    }
    const debs = readdirSync(draft).filter((name) => name.endsWith('.deb'));
    const unpacked = debs.every((deb) => spawnSync('dpkg', ['-x', deb, '.'], { cwd: draft }).status === 0);
    if (said.status !== 0 || debs.length < PACKAGES.length || !unpacked) {
      const reason = said.error?.message ?? said.stderr.trim().split('\n').at(-1) ?? '';
      return {
        missing: `pgbouncer is not here; \`apt-get update && apt-get download ${PACKAGES.join(' ')}\` brings it on Debian (it said: ${reason})`,
      };
    }
    chmodSync(draft, 0o755);
    renameSync(draft, CACHE);
    return found;
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

export async function openPooler({ root }: { root: string }, databaseUrl: string, size: number): Promise<Pooler> {
  const { hostname, port, username, password, pathname } = new URL(databaseUrl);
  const own = await freePort();
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
listen_port = ${own}
unix_socket_dir =
auth_type = any
admin_users = admin
pool_mode = transaction
default_pool_size = ${size}
max_client_conn = 2000
`,
  );
  // A copy, since another user cannot reach into root's home.
  await cp(path.join(root, 'usr'), path.join(folder, 'usr'), { recursive: true, verbatimSymlinks: true });
  if (uid !== undefined) for (const item of [folder, ini]) chownSync(item, uid, uid);
  const child: ChildProcess = spawn(path.join(folder, PROGRAM), ['-q', ini], {
    uid,
    gid: uid,
    cwd: '/',
    env: { LD_LIBRARY_PATH: libraryFolders(path.join(folder, 'usr/lib')) },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr!.on('data', (chunk) => (said += chunk));
  const url = `postgres://${username}:${password}@127.0.0.1:${own}/${database}`;
  const admin = postgres(`postgres://admin@127.0.0.1:${own}/pgbouncer`, { max: 1, fetch_types: false });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const close = async () => {
    clearInterval(watch);
    await admin.end({ timeout: 1 });
    child.kill('SIGKILL');
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  const show = (what: string) => admin.unsafe(`show ${what}`).simple();
  const most = { clients: 0, servers: 0 };
  const clients = async () => (await show('clients')).filter((row) => row.database === database).length;
  let watch: NodeJS.Timeout | undefined;
  await until(10_000, () => {
    if (child.exitCode !== null) throw new Error(`pgbouncer ended: ${said}`);
    return show('version').then(
      () => true,
      () => false,
    );
  });
  watch = setInterval(async () => {
    const seen = await Promise.all([clients(), show('servers')]).catch(() => null);
    if (!seen) return;
    most.clients = Math.max(most.clients, seen[0]);
    most.servers = Math.max(most.servers, seen[1].length);
  }, 20);
  return {
    url,
    clients,
    most,
    close,
  };
}

function libraryFolders(root: string): string {
  const machines = readdirSync(root).map((name) => path.join(root, name));
  return machines.join(':');
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
