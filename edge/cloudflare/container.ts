// The container behind the Worker: the same API on Node with onnxruntime-node, for policies too large for an isolate.
// It sleeps when idle. Requests wait while it starts; after a timeout they get a retryable 503. If its settings have
// changed since it started (a rotated key, for example), it is restarted.

import { setTimeout as sleep } from 'node:timers/promises';
import { Container } from '@cloudflare/containers';
import type { DurableObjectNamespace, DurableObjectState } from '@cloudflare/workers-types';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { log } from '../../shared/log.ts';
import { toErrorBody } from '../http/errors.ts';
import { CONTAINER_PORT, readContainerEnv } from './container-env.ts';

export type EdgeNamespace = DurableObjectNamespace;

/** Timeout for Cloudflare to provide a machine. */
const INSTANCE_TIMEOUT_MS = 10_000;
const RETRY_AFTER_S = 5;
/** Timeout for a stopping container to exit: longer than it takes to drain its streams. */
const STOP_TIMEOUT_MS = 20_000;
const POLL_INTERVAL_MS = 100;
/** Storage key for the hash of the running container's environment; storage outlives this object's memory. */
export const ENV_HASH_KEY = 'env hash';

export class EdgeContainer extends Container {
  override defaultPort = CONTAINER_PORT;
  override sleepAfter = '10m';
  override pingEndpoint = 'edge/status';
  /** Timeout for the API to listen: it first migrates the database and loads the policy. */
  protected readonly startTimeoutMs: number = 30_000;
  private readonly instance: DurableObjectState['container'];
  private readonly storage: DurableObjectState['storage'];
  private readonly missing: string[];
  private stopping: Promise<void> | null = null;

  constructor(...args: ConstructorParameters<typeof Container>) {
    super(...args);
    const { variables, missing } = readContainerEnv(args[1] as Record<string, unknown>);
    this.instance = (args[0] as DurableObjectState).container;
    this.storage = (args[0] as DurableObjectState).storage;
    this.envVars = variables;
    this.missing = missing;
  }

  override async fetch(request: Request): Promise<Response> {
    if (this.missing.length > 0) return toResponse(misconfigured(this.missing));
    try {
      await this.waitUntilReady();
    } catch (error) {
      log.error('container', 'not ready', error);
      return toResponse(this.instance?.running ? starting() : failed());
    }
    return super.fetch(request);
  }

  override onError(error: unknown): void {
    log.error('container', 'failed', error);
  }

  override onStop({ exitCode, reason }: { exitCode: number; reason: string }): void {
    log.info('container', `stopped (${reason}, exit code ${exitCode})`);
  }

  /** Stops a container that was started with a different environment. */
  private async stopIfChanged(): Promise<void> {
    const envHash = hashContent(this.envVars);
    if ((await this.storage.get(ENV_HASH_KEY)) === envHash) return;
    if (this.instance?.running) await this.stop();
    for (let waitedMs = 0; this.instance?.running && waitedMs < STOP_TIMEOUT_MS; waitedMs += POLL_INTERVAL_MS)
      await sleep(POLL_INTERVAL_MS);
    if (this.instance?.running) await this.destroy();
    await this.storage.put(ENV_HASH_KEY, envHash);
  }

  private async waitUntilReady(): Promise<void> {
    this.stopping ??= this.stopIfChanged().finally(() => {
      this.stopping = null;
    });
    await this.stopping;
    const { status } = await this.getState();
    if (this.instance?.running && status === 'healthy') return;
    // Without the request's signal: other requests wait for the same start.
    await this.startAndWaitForPorts({
      ports: CONTAINER_PORT,
      cancellationOptions: { instanceGetTimeoutMS: INSTANCE_TIMEOUT_MS, portReadyTimeoutMS: this.startTimeoutMs },
    });
  }
}

function toResponse(error: AttuneError): Response {
  const headers: Record<string, string> = { 'x-should-retry': String(error.retry) };
  if (error.retry)
    Object.assign(headers, { 'retry-after': `${RETRY_AFTER_S}`, 'retry-after-ms': `${RETRY_AFTER_S * 1000}` });
  return Response.json(toErrorBody(error), { status: error.status, headers });
}

function misconfigured(missing: string[]): AttuneError {
  return new AttuneError(
    `the container lacks ${missing.join(', ')}; set each as a secret of this Worker: \`wrangler secret put ${missing[0]}\``,
    { status: 503, code: 'container_misconfigured', retry: false },
  );
}

function starting(): AttuneError {
  return new AttuneError(
    `the container is still starting; retry in ${RETRY_AFTER_S} seconds, or set INFERENCE_URL to an always-on Attune`,
    { status: 503, code: 'container_starting' },
  );
}

function failed(): AttuneError {
  return new AttuneError(
    'the container did not start: it exited, or no machine is available; see its log (Containers in the dashboard)',
    { status: 503, code: 'container_failed' },
  );
}
