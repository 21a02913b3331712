// A Worker that forwards every request, for e2e/forward.test.ts: to UPSTREAM, or with `?via=container` to EdgeContainer on a
// stub machine that starts, listens and exits as the test configures it, and proxies to UPSTREAM.

import type { DurableObjectState, RateLimit } from '@cloudflare/workers-types';
import { Hono } from 'hono';
import { requestId } from 'hono/request-id';
import { EdgeContainer, type EdgeNamespace, ENV_HASH_KEY } from '../edge/cloudflare/container.ts';
import { createContainerUpstream, createUrlUpstream, forwardTo } from '../edge/cloudflare/forward.ts';
import { getCloudflareAddress, openWorkerRateLimits } from '../edge/cloudflare/rate-limits.ts';
import { toErrorResponse } from '../edge/http/errors.ts';
import { limitBody } from '../edge/middleware/body-limit.ts';
import { limitRate } from '../edge/middleware/rate-limit.ts';
import { newId } from '../shared/id.ts';

type Env = { UPSTREAM: string; EDGE: EdgeNamespace; RATE_LIMIT: RateLimit };
/** Behaviour of the next start: `delay` in milliseconds until it listens; whether it crashes. */
export type ContainerScript = { delay?: number; crashes?: boolean };
type StubContainerControl = {
  setScript(script: ContainerScript): Promise<void>;
  stop(): Promise<void>;
  invalidateEnv(): Promise<void>;
  started(): Promise<Record<string, string>[]>;
};

class StubMachine {
  running = false;
  next: ContainerScript = {};
  readonly started: Record<string, string>[] = [];
  private listensAtMs = 0;
  private exit = (_code: number) => {};
  private exited: Promise<void> = Promise.resolve();
  private readonly upstream: string;

  constructor(upstream: string) {
    this.upstream = upstream;
  }

  start({ env }: { env: Record<string, string> }): void {
    this.running = true;
    this.started.push(env);
    this.listensAtMs = Date.now() + (this.next.delay ?? 0);
    this.exited = new Promise((resolve, reject) => {
      this.exit = (code) => {
        this.running = false;
        if (code === 0) resolve();
        else reject(new Error(`container exited with unexpected exit code: ${code}`));
      };
    });
    if (this.next.crashes) setTimeout(() => this.exit(1), 100);
  }

  monitor(): Promise<void> {
    return this.exited;
  }

  signal(): void {
    this.exit(0);
  }

  getTcpPort() {
    return {
      fetch: (url: string, init: RequestInit) => {
        if (!this.running || Date.now() < this.listensAtMs) throw new Error('the container is not listening');
        const { pathname, search } = new URL(url);
        return fetch(this.upstream + pathname + search, init);
      },
    };
  }
}

export class StubContainer extends EdgeContainer {
  protected override readonly startTimeoutMs = 2000;
  private readonly stub: StubMachine;
  private readonly stateStorage: DurableObjectState['storage'];

  constructor(state: DurableObjectState, env: Env) {
    const stub = new StubMachine(env.UPSTREAM);
    Object.defineProperty(state, 'container', { value: stub });
    super(state as never, env as never);
    this.stub = stub;
    this.stateStorage = state.storage;
  }

  async setScript(script: ContainerScript): Promise<void> {
    this.stub.next = script;
  }

  override async stop(): Promise<void> {
    if (this.stub.running) this.stub.signal();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }

  /** Makes the stored hash of its environment differ, as after a change of settings. */
  async invalidateEnv(): Promise<void> {
    await this.stateStorage.put(ENV_HASH_KEY, 'others');
  }

  started(): Record<string, string>[] {
    return this.stub.started;
  }
}

const app = new Hono<{ Bindings: Env }>();
app.onError((error, context) => toErrorResponse(context, error));
app.use(requestId({ generator: () => newId('req_') }));
app.post('/machine/:command', async (context) => {
  const machine = context.env.EDGE.getByName('edge 0') as unknown as StubContainerControl;
  const command = context.req.param('command');
  if (command === 'script') await machine.setScript(await context.req.json());
  if (command === 'stop') await machine.stop();
  if (command === 'invalidate-env') await machine.invalidateEnv();
  return context.json(await machine.started());
});
app.use('/limited/*', (context, next) =>
  limitRate(openWorkerRateLimits(context.env.RATE_LIMIT), getCloudflareAddress)(context, next),
);
app.use(limitBody(100_000));
app.post('/limited/*', (context) => context.json({}));
app.post('/v1/*', (context) => {
  const { UPSTREAM, EDGE } = context.env;
  const upstream =
    context.req.query('via') === 'container' ? createContainerUpstream(EDGE, 1) : createUrlUpstream(UPSTREAM);
  return forwardTo(upstream, context, {
    timeoutSeconds: Number(context.req.query('seconds') ?? 600),
    isRetrySafe: context.req.path !== '/v1/policies/rollback',
  });
});

export default app;
