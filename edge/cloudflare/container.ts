// The container beside the Worker: the same API on Node with onnxruntime-node, for policies too large for an isolate. It
// sleeps when nobody asks; who asks while it starts waits for it, and is told to come again where that takes too long.
// One that was started with other settings, a key that was changed since, is ended and started anew.

import { Container } from '@cloudflare/containers';
import type { DurableObjectNamespace, DurableObjectState } from '@cloudflare/workers-types';
import { hashContent } from '../../shared/digest.ts';
import { AttuneError } from '../../shared/error.ts';
import { toErrorBody } from '../http/errors.ts';
import { CONTAINER_PORT, readContainerEnv } from './container-env.ts';

export type EdgeNamespace = DurableObjectNamespace;

/** Milliseconds until there is a machine. */
const INSTANCE_TIMEOUT_MS = 10_000;
/** Seconds after which it is worth asking again. */
const RETRY_AFTER_S = 5;
/** Milliseconds between two looks whether it has ended, and how many of them: longer than it lets streams drain. */
const POLL_INTERVAL_MS = 100;
const MAX_POLLS = 200;
/** In the object's storage: a digest of what the container was started with, which outlives this object's memory. */
export const ENV_HASH_KEY = 'started with';

export class EdgeContainer extends Container {
  override defaultPort = CONTAINER_PORT;
  override sleepAfter = '10m';
  override pingEndpoint = 'edge/status';
  /** Milliseconds until the API on it listens: it migrates and loads the policy before. */
  protected readonly startTimeoutMs: number = 30_000;
  private readonly instance: DurableObjectState['container'];
  private readonly storage: DurableObjectState['storage'];
  private readonly missing: string[];
  private restart: Promise<void> | null = null;

  constructor(...given: ConstructorParameters<typeof Container>) {
    super(...given);
    const { variables, missing } = readContainerEnv(given[1] as Record<string, unknown>);
    this.instance = (given[0] as DurableObjectState).container;
    this.storage = (given[0] as DurableObjectState).storage;
    this.envVars = variables;
    this.missing = missing;
  }

  override async fetch(request: Request): Promise<Response> {
    if (this.missing.length > 0) return toResponse(misconfigured(this.missing));
    try {
      await this.waitUntilReady();
    } catch (error) {
      console.error('container: it is not ready:', error);
      return toResponse(this.instance?.running ? starting() : failed());
    }
    return super.fetch(request);
  }

  override onError(error: unknown): void {
    console.error('container:', error);
  }

  override onStop({ exitCode, reason }: { exitCode: number; reason: string }): void {
    console.log(`container: it stopped (${reason}, exit code ${exitCode})`);
  }

  /** Ends a container that has other settings than these. */
  private async restartIfChanged(): Promise<void> {
    const settings = await hashContent(this.envVars);
    if ((await this.storage.get(ENV_HASH_KEY)) === settings) return;
    if (this.instance?.running) await this.stop();
    for (let looks = 0; this.instance?.running && looks < MAX_POLLS; looks++)
      await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
    if (this.instance?.running) await this.destroy();
    await this.storage.put(ENV_HASH_KEY, settings);
  }

  private async waitUntilReady(): Promise<void> {
    this.restart ??= this.restartIfChanged().finally(() => {
      this.restart = null;
    });
    await this.restart;
    const { status } = await this.getState();
    if (this.instance?.running && status === 'healthy') return;
    // Without the request's signal: others wait for the same start.
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
    `the container is still starting; try again in ${RETRY_AFTER_S} seconds, or set INFERENCE_URL to an Attune that is always on`,
    { status: 503, code: 'container_starting' },
  );
}

function failed(): AttuneError {
  return new AttuneError(
    'the container did not start: it ended by itself, or there is no machine for it now; its log says which (Containers in the dashboard)',
    { status: 503, code: 'container_failed' },
  );
}
