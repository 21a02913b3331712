// A Worker that hands everything on, for e2e/forward.test.ts: to UPSTREAM, or with `via: container` to the container's own
// class, whose machine is played: it starts, listens and ends as the test says, and what listens on it is UPSTREAM.

import type { DurableObjectState, RateLimit } from '@cloudflare/workers-types';
import { Hono } from 'hono';
import { requestId } from 'hono/request-id';
import { EdgeContainer, type EdgeNamespace, ENV_HASH_KEY } from '../edge/cloudflare/container.ts';
import { createContainerUpstream, createUrlUpstream, forwardTo } from '../edge/cloudflare/forward.ts';
import { toErrorResponse } from '../edge/http/errors.ts';
import { limitBody } from '../edge/middleware/body-limit.ts';
import { limitRate } from '../edge/middleware/rate-limit.ts';
import { newId } from '../shared/id.ts';

type Env = { UPSTREAM: string; EDGE: EdgeNamespace; RATE_LIMIT: RateLimit };
/** What the next start of the machine is like. */
export type Play = { delay?: number; crashes?: boolean };
type Played = {
  play(given: Play): Promise<void>;
  stop(): Promise<void>;
  age(): Promise<void>;
  started(): Promise<Record<string, string>[]>;
};

class Machine {
  running = false;
  next: Play = {};
  readonly started: Record<string, string>[] = [];
  private listensAt = 0;
  private end = (_code: number) => {};
  private ended: Promise<void> = Promise.resolve();
  private readonly upstream: string;

  constructor(upstream: string) {
    this.upstream = upstream;
  }

  start({ env }: { env: Record<string, string> }): void {
    this.running = true;
    this.started.push(env);
    this.listensAt = Date.now() + (this.next.delay ?? 0);
    this.ended = new Promise((resolve, reject) => {
      this.end = (code) => {
        this.running = false;
        if (code === 0) resolve();
        else reject(new Error(`container exited with unexpected exit code: ${code}`));
      };
    });
    if (this.next.crashes) setTimeout(() => this.end(1), 100);
  }

  monitor(): Promise<void> {
    return this.ended;
  }

  signal(): void {
    this.end(0);
  }

  getTcpPort() {
    return {
      fetch: (url: string, given: RequestInit) => {
        if (!this.running || Date.now() < this.listensAt) throw new Error('the container is not listening');
        const { pathname, search } = new URL(url);
        return fetch(this.upstream + pathname + search, given);
      },
    };
  }
}

export class PlayedContainer extends EdgeContainer {
  protected override readonly startTimeoutMs = 2000;
  private readonly played: Machine;
  private readonly memory: DurableObjectState['storage'];

  constructor(state: DurableObjectState, env: Env) {
    const played = new Machine(env.UPSTREAM);
    Object.defineProperty(state, 'container', { value: played });
    super(state as never, env as never);
    this.played = played;
    this.memory = state.storage;
  }

  async play(given: Play): Promise<void> {
    this.played.next = given;
  }

  override async stop(): Promise<void> {
    if (this.played.running) this.played.signal();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }

  /** As if it had been started before a setting was changed. */
  async age(): Promise<void> {
    await this.memory.put(ENV_HASH_KEY, 'others');
  }

  started(): Record<string, string>[] {
    return this.played.started;
  }
}

const app = new Hono<{ Bindings: Env }>();
app.onError((error, context) => toErrorResponse(context, error));
app.use(requestId({ generator: () => newId('req_') }));
app.post('/machine/:what', async (context) => {
  const machine = context.env.EDGE.getByName('edge 0') as unknown as Played;
  const what = context.req.param('what');
  if (what === 'play') await machine.play(await context.req.json());
  if (what === 'stop') await machine.stop();
  if (what === 'age') await machine.age();
  return context.json(await machine.started());
});
app.use('/limited/*', (context, next) =>
  limitRate(async (key) => (await context.env.RATE_LIMIT.limit({ key })).success)(context, next),
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
