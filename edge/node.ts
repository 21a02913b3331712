// The API on Node: connects its ports to Postgres, the policy store and ONNX Runtime, and listens. Containers run this
// file directly (`node edge/node.ts`); unlike `attune serve`, it does not start a Postgres and requires DATABASE_URL.

import { readFile } from 'node:fs/promises';
import type { Server, ServerOptions } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { getConnInfo } from '@hono/node-server/conninfo';
import packageJson from '../package.json' with { type: 'json' };
import { startDeciding } from '../shared/canary/decide-loop.ts';
import { connect } from '../shared/database/connect.ts';
import { migrateDatabase } from '../shared/database/migrate.ts';
import { AttuneError } from '../shared/error.ts';
import { log } from '../shared/log.ts';
import { openLog } from '../shared/log-output.ts';
import { runProgram, waitForSignal } from '../shared/process.ts';
import { ensureDefaultPolicy } from '../shared/publish/default-policy.ts';
import { openRedact } from '../shared/redaction/open-redact.ts';
import { readSettings, type Settings } from '../shared/settings.ts';
import { openLocalStore } from '../shared/store/local-store.ts';
import { openTracing } from '../shared/tracing.ts';
import { startAlerts } from '../shared/webhooks/alert-loop.ts';
import { startWebhookDelivery } from '../shared/webhooks/delivery-loop.ts';
import { createApp } from './app.ts';
import { flushPolicyMinutes, PolicyMinutes } from './canary/policy-minutes.ts';
import { limitConnections } from './connection-limit.ts';
import { Credentials } from './credentials.ts';
import { openInference } from './engine/policy-pool.ts';
import { Tenants } from './engine/tenants.ts';
import { ConcurrentGenerations } from './generation/concurrent-generations.ts';
import { ConcurrencyLimit } from './http/concurrency-limit.ts';
import { LoopEvents } from './loop/loop-events.ts';
import { LoopReader } from './loop/read-loop.ts';
import { openMetrics } from './metrics/metrics.ts';
import { openTrainingMetrics } from './metrics/training-metrics.ts';
import { watchPolicies } from './policy-watcher.ts';
import type { Placement } from './ports.ts';
import { STUCK, watchPostgres } from './postgres-watchdog.ts';
import { openRateLimits } from './rate-limits.ts';
import { logRequest } from './request-log.ts';
import { traceRequest } from './request-span.ts';
import { RoundEvents } from './round-events.ts';
import { WrongKeys } from './wrong-keys.ts';

export type Edge = { url: string; close(): Promise<void> };

/** How long streams in progress may continue after a stop signal. */
export const DRAIN_TIMEOUT_MS = 10_000;

/** What pages/build.ts has built. */
const PAGES = new URL('../pages/dist/', import.meta.url);

/** How often unused local copies of policies are removed. */
const TRIM_INTERVAL_MS = 60_000;

const PLACEMENT: Placement = { place: 'node', reason: 'this process has ONNX Runtime' };

/** Each holds one batch in memory, and writes as fast as Postgres can. */
const MAX_IMPORTS = 2;
const MAX_EVENT_STREAMS = 100;

/** How long /health reports a full disk after the last write that it refused: without traffic no write would clear it. */
const DISK_FULL_MS = 30_000;

/** `onStuck`: this process cannot query Postgres any more, although Postgres answers; default: it exits. */
export async function startEdge(
  settings: Settings,
  databaseUrl: string,
  onStuck: () => void = exitStuck,
): Promise<Edge> {
  const redact = await openRedact(settings.REDACT);
  const connection = connect(databaseUrl, { name: 'attune edge', limits: 'server' });
  const tracing = await openTracing(settings, { name: 'attune-edge', version: packageJson.version });
  const store = await openLocalStore(settings, connection.db);
  const metrics = openMetrics({ maxQueue: settings.MAX_QUEUE }, openTrainingMetrics(connection.db));
  const tenants = new Tenants((settings.API_KEY?.length ?? 0) > 1);
  const inference = openInference({
    getFolder: store.getFolder,
    threads: settings.SERVE_THREADS,
    maxRows: settings.MAX_ROWS,
    maxQueue: settings.MAX_QUEUE,
    tenants,
    kvMemoryBytes: settings.KV_MEMORY,
    instrumentation: metrics.instrumentation,
  });
  const minutes = new PolicyMinutes();
  const watcher = await watchPolicies(connection, inference, (id) => minutes.add(id, { load_failures: 1 }));
  const flusher = flushPolicyMinutes(connection.db, minutes);
  const decider = await startDeciding(connection, settings);
  const webhooks = await startWebhookDelivery(connection, settings);
  const alerts = startAlerts(connection.db, settings);
  const trimTimer = setInterval(() => store.trim(inference.listInUse()).catch(logTrimFailure), TRIM_INTERVAL_MS);
  const roundEvents = new RoundEvents(connection.db, watcher.waitForChange);
  const loop = new LoopEvents(new LoopReader(connection.db, settings, metrics.countGenerations));
  const app = createApp({
    db: connection.db,
    inference,
    settings,
    credentials: new Credentials(),
    tenants,
    wrongKeys: new WrongKeys(settings.WRONG_KEYS_PER_MINUTE),
    getAddress: (context) => getConnInfo(context).remote.address ?? 'unknown',
    redact,
    async getServingStatus() {
      const policy = inference.getActivePolicy()?.id ?? null;
      const candidate = watcher.getCanary()?.policyId ?? null;
      return { policy, candidate, compute: policy === null ? null : PLACEMENT };
    },
    getCanary: async () => watcher.getCanary(),
    placeRequest: async () => PLACEMENT,
    openAsset,
    // NOTIFY has woken their delivery.
    sendWebhooks: async () => {},
    roundEvents,
    loop,
    metrics,
    rateLimits: openRateLimits(settings),
    concurrencyLimits: {
      imports: new ConcurrencyLimit('imports', { max: MAX_IMPORTS, tenants }),
      eventStreams: new ConcurrencyLimit('event streams', { max: MAX_EVENT_STREAMS, tenants }),
      generations: new ConcurrentGenerations(),
    },
    observeRequest(record) {
      minutes.observe(record);
      logRequest(record, tracing ? traceRequest(tracing, record) : undefined);
    },
    isDiskFull: () => performance.now() - (connection.observed.diskFullMs ?? -Infinity) < DISK_FULL_MS,
  });

  const watchdog = watchPostgres(connection, onStuck);
  const closePorts = async () => {
    watchdog.close();
    clearInterval(trimTimer);
    await alerts.close();
    await webhooks.close();
    await decider.close();
    await watcher.close();
    await inference.close();
    await flusher.close();
    await connection.close();
    metrics.close();
    await tracing?.close();
  };
  let server: Server;
  try {
    server = await listen(app.fetch, settings);
  } catch (error) {
    await closePorts();
    throw error;
  }
  const connections = limitConnections(server, settings.MAX_CONNECTIONS);
  const { port } = server.address() as { port: number };
  const host = settings.HOST.includes(':') ? `[${settings.HOST}]` : settings.HOST;
  return {
    url: `http://${host}:${port}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      // They would go on for as long as anybody reads.
      roundEvents.close();
      loop.close();
      const drainTimer = setTimeout(() => server.closeAllConnections(), DRAIN_TIMEOUT_MS);
      // `close` closes only the kept-alive connections that are idle now; the others become idle one by one.
      const idleTimer = setInterval(() => server.closeIdleConnections(), 50);
      connections.closeIdle();
      await closed;
      clearInterval(idleTimer);
      clearTimeout(drainTimer);
      await closePorts();
    },
  };
}

async function openAsset(path: string, request: Request): Promise<Response | null> {
  const isZipped = /\bgzip\b/.test(request.headers.get('accept-encoding') ?? '');
  try {
    const file = await readFile(new URL(isZipped ? `${path}.gz` : path, PAGES));
    return new Response(file, { headers: isZipped ? { 'content-encoding': 'gzip', vary: 'accept-encoding' } : {} });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function exitStuck(): void {
  log.error('attune', `${STUCK}; exiting, so that the supervisor of this process restarts it`);
  process.exit(1);
}

/** Ignores an unreachable store (an AttuneError), because the next run tries again. */
function logTrimFailure(error: unknown): void {
  if (!(error instanceof AttuneError)) log.error('store', 'internal: removing unused policies from disk failed', error);
}

/** Runs the API, with the default policy if there is none, until `stopped` resolves; streams in progress end first. */
export async function serve(settings: Settings, databaseUrl: string, stopped: Promise<string>): Promise<void> {
  const connection = connect(databaseUrl, { max: 2 });
  const store = await openLocalStore(settings, connection.db);
  await ensureDefaultPolicy(connection, store, settings.PRECISION, () =>
    log.info('policy', 'converting the default policy, stories15M (once; takes a few seconds)'),
  );
  await connection.close();
  const edge = await startEdge(settings, databaseUrl);
  log.info('attune', `serving at ${edge.url}`);
  log.info('attune', `stopping (${await stopped})`);
  await edge.close();
}

/** Timeouts in milliseconds. */
const SERVER_OPTIONS: ServerOptions = {
  headersTimeout: 10_000,
  // Long enough for any import; limitBody has a shorter limit for all other bodies.
  requestTimeout: 3_600_000,
  connectionsCheckingInterval: 2_000,
  // Above the 60 s idle timeout of load balancers, which would otherwise send into a connection that is being closed.
  keepAliveTimeout: 65_000,
};
/** Connections that may wait to be accepted: a thousand clients may connect at once. */
const BACKLOG = 4096;

function listen(fetch: (request: Request) => Response | Promise<Response>, settings: Settings): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createAdaptorServer({ fetch, serverOptions: SERVER_OPTIONS }) as Server;
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      reject(
        new AttuneError(`PORT: ${settings.PORT} is in use on ${settings.HOST}; stop the other process, or set PORT`),
      );
    });
    server.listen({ host: settings.HOST, port: settings.PORT, backlog: BACKLOG }, () => resolve(server));
  });
}

if (import.meta.main) {
  await runProgram(async () => {
    const stopped = waitForSignal();
    const settings = readSettings(process.env);
    if (!settings.DATABASE_URL)
      throw new AttuneError(
        'settings: DATABASE_URL: not set; give the URL of the Postgres that edges and trainer share, or run `attune serve`, which starts one',
        { code: 'invalid_settings' },
      );
    openLog(settings);
    await migrateDatabase(settings.DATABASE_URL);
    await serve(settings, settings.DATABASE_URL, stopped);
    process.exit(0);
  });
}
