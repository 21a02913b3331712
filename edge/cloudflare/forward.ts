// An Attune elsewhere computes what this Worker cannot: it gets the request as it came, and its answer is handed on.
// Nothing is sent a second time from here, since workerd does not tell a connection that was refused from one that broke
// while the request was at work; the client, told whether to try again, decides.

import type { Context } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { type Deadline, openDeadline } from '../http/deadline.ts';
import type { ErrorBody } from '../http/errors.ts';
import type { EdgeNamespace } from './container.ts';
import { copyEndToEndHeaders } from './headers.ts';
import { proxyEvents } from './sse-proxy.ts';

/** Marks a request that a Worker handed on. */
export const FORWARDED_HEADER = 'x-attune-forwarded';

/** Seconds beyond REQUEST_TIMEOUT, after which the upstream itself should have given up. */
const TIMEOUT_MARGIN_S = 30;

export type Upstream = {
  /** as messages call it */
  name: string;
  /** what whoever runs it can look at */
  remedy: string;
  /** before the request's path */
  base: string;
  fetch(request: Request): Promise<Response>;
};

export function createUrlUpstream(url: string): Upstream {
  const { host, origin, pathname } = new URL(url);
  return {
    name: `INFERENCE_URL (${host})`,
    remedy: 'see whether an Attune answers GET /health there',
    base: origin + pathname.replace(/\/+$/, ''),
    fetch: (request) => fetch(request),
  };
}

/** One of so many containers, by chance: each loads the policy for itself, and sleeps for itself. */
export function createContainerUpstream(namespace: EdgeNamespace, instances: number): Upstream {
  const stub = namespace.getByName(`edge ${Math.floor(Math.random() * instances)}`);
  return {
    name: 'the container',
    remedy: 'see its log (`wrangler tail`), or set INFERENCE_URL to an Attune elsewhere',
    base: 'http://edge',
    fetch: (request) => stub.fetch(request as never) as unknown as Promise<Response>,
  };
}

export type ForwardOptions = {
  timeoutSeconds: number;
  /** whether the client may send the request again after a failure that leaves open whether it took effect */
  isRetrySafe: boolean;
};

/** Returns the upstream's response. Throws an AttuneError if the upstream sends none in this API's shape. */
export async function forwardTo(
  upstream: Upstream,
  context: Context,
  { timeoutSeconds, isRetrySafe: retry }: ForwardOptions,
): Promise<Response> {
  const deadline = openDeadline(timeoutSeconds + TIMEOUT_MARGIN_S, context.req.raw.signal);
  const explain = () => toInterruptedError(upstream, deadline, retry);
  try {
    const request = await copyRequest(upstream, context, deadline.signal);
    const response = await upstream.fetch(request).catch((error: Error) => {
      const known = findAbortError(upstream, deadline);
      if (known) throw known;
      console.error(`upstream: ${upstream.name}: ${error.message}`);
      throw unavailable(upstream, 'cannot be reached', retry);
    });
    const type = response.headers.get('content-type') ?? '';
    assertAttuneResponse(upstream, response, type, retry);
    const headers = copyEndToEndHeaders(response.headers);
    if (type.startsWith('text/event-stream') && response.body) {
      const body = proxyEvents(response.body, deadline, explain);
      return new Response(body, { status: response.status, headers });
    }
    const text = await response.text().catch(() => {
      throw explain();
    });
    deadline.close();
    assertErrorShape(upstream, response.status, text, retry);
    return new Response(text, { status: response.status, headers });
  } catch (error) {
    deadline.close();
    throw error;
  }
}

async function copyRequest({ base }: Upstream, context: Context, signal: AbortSignal): Promise<Request> {
  const { pathname, search } = new URL(context.req.url);
  const headers = copyEndToEndHeaders(context.req.raw.headers);
  headers.set('x-request-id', context.get('requestId'));
  headers.set(FORWARDED_HEADER, '1');
  // A proxy that compresses holds events back.
  headers.set('accept-encoding', 'identity');
  return new Request(base + pathname + search, {
    method: context.req.method,
    headers,
    body: await context.req.text(),
    redirect: 'manual',
    signal,
  });
}

/** What every answer of an Attune has, and a proxy's or another API's has not. */
function assertAttuneResponse(
  upstream: Upstream,
  { status, headers, body }: Response,
  type: string,
  retry: boolean,
): void {
  const problem = findProblem({ status, headers }, type);
  if (problem === null) return;
  void body?.cancel().catch(() => {});
  if (status >= 500) throw unavailable(upstream, problem, retry);
  throw misconfigured(upstream, problem);
}

function findProblem({ status, headers }: Pick<Response, 'status' | 'headers'>, type: string): string | null {
  if (status >= 300 && status < 400) return `redirects to ${headers.get('location')}; name what it leads to instead`;
  if (!/^(application\/json|text\/event-stream)\b/.test(type))
    return `answered ${status} with ${type || 'no content-type'}, which is not this API`;
  if (status === 401 || status === 403)
    return `answered ${status}: it does not know the key that this Worker lets in; give both the same API_KEY`;
  if (status === 404)
    return 'answered 404 for a policy that is here; give both the same Postgres and policy store, and no path in between';
  if (status < 400 && !headers.has('x-attune-compute')) return `answered ${status} as something else than Attune`;
  return null;
}

function assertErrorShape(upstream: Upstream, status: number, text: string, retry: boolean): void {
  if (status >= 400 && !isErrorBody(text)) throw unavailable(upstream, `answered ${status} in another shape`, retry);
}

function isErrorBody(text: string): boolean {
  try {
    const { error } = JSON.parse(text) as Partial<ErrorBody>;
    return typeof error?.message === 'string';
  } catch {
    return false;
  }
}

function toInterruptedError(upstream: Upstream, deadline: Deadline, retry: boolean): AttuneError {
  const known = findAbortError(upstream, deadline);
  if (known) return known;
  return new AttuneError(`${upstream.name} broke off in the middle of its answer; ${upstream.remedy}`, {
    status: 502,
    code: 'upstream_interrupted',
    retry,
  });
}

/** Where it was not the upstream that ended it. */
function findAbortError({ name, remedy }: Upstream, { signal, hasPassed }: Deadline): AttuneError | null {
  if (hasPassed())
    return new AttuneError(`${name} did not end its answer within REQUEST_TIMEOUT; ${remedy}`, {
      status: 504,
      code: 'upstream_timeout',
      retry: false,
    });
  if (!signal.aborted) return null;
  return new AttuneError('the request was cancelled', { status: 499, code: 'cancelled', retry: false });
}

function unavailable({ name, remedy }: Upstream, problem: string, retry: boolean): AttuneError {
  return new AttuneError(`${name} ${problem}; ${remedy}`, { status: 503, code: 'upstream_unavailable', retry });
}

function misconfigured({ name }: Upstream, problem: string): AttuneError {
  return new AttuneError(`${name} ${problem}`, { status: 502, code: 'upstream_misconfigured', retry: false });
}
