// Forwards a request that this Worker cannot compute to another Attune, and passes the response on, both unchanged. A
// failed request is not retried here, since workerd does not distinguish a refused connection from one that broke while
// the request was being processed. The client decides, from x-should-retry.

import type { Context } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { log } from '../../shared/log.ts';
import { cancelled, type Deadline, openDeadline } from '../http/deadline.ts';
import type { ErrorBody } from '../http/errors.ts';
import type { EdgeNamespace } from './container.ts';
import { copyEndToEndHeaders } from './headers.ts';
import { proxyEvents } from './sse-proxy.ts';

/** Marks a request that a Worker forwarded. */
export const FORWARDED_HEADER = 'x-attune-forwarded';

/** Added to REQUEST_TIMEOUT, so that the upstream times out first and responds with its own error. */
const TIMEOUT_MARGIN_S = 30;

export type Upstream = {
  /** Name in error messages. */
  name: string;
  /** What the operator can check, for error messages. */
  remedy: string;
  /** URL that precedes the request's path. */
  base: string;
  fetch(request: Request): Promise<Response>;
};

export function createUrlUpstream(url: string): Upstream {
  const { host, origin, pathname } = new URL(url);
  return {
    name: `INFERENCE_URL (${host})`,
    remedy: 'check that an Attune responds to GET /health there',
    base: origin + pathname.replace(/\/+$/, ''),
    fetch: (request) => fetch(request),
  };
}

/** One of the containers, at random: each loads its own copy of the policy and sleeps independently. */
export function createContainerUpstream(namespace: EdgeNamespace, instances: number): Upstream {
  const stub = namespace.getByName(`edge ${Math.floor(Math.random() * instances)}`);
  return {
    name: 'the container',
    remedy: 'see its log (`wrangler tail`), or set INFERENCE_URL to another Attune',
    base: 'http://edge',
    fetch: (request) => stub.fetch(request as never) as unknown as Promise<Response>,
  };
}

type ForwardOptions = {
  timeoutSeconds: number;
  /** Whether the client may retry a request that may have taken effect. */
  isRetrySafe: boolean;
};

/** Returns the upstream's response. Throws an AttuneError if there is none, or if it is not a response of this API. */
export async function forwardTo(
  upstream: Upstream,
  context: Context,
  { timeoutSeconds, isRetrySafe: retry }: ForwardOptions,
): Promise<Response> {
  const deadline = openDeadline(timeoutSeconds + TIMEOUT_MARGIN_S, context.req.raw.signal);
  const toError = () => toInterruptedError(upstream, deadline, retry);
  try {
    const request = await copyRequest(upstream, context, deadline.signal);
    const response = await upstream.fetch(request).catch((error: Error) => {
      const aborted = findAbortError(upstream, deadline);
      if (aborted) throw aborted;
      log.error('upstream', `${upstream.name}: ${error.message}`);
      throw unavailable(upstream, 'cannot be reached', retry);
    });
    const type = response.headers.get('content-type') ?? '';
    assertAttuneResponse(upstream, response, type, retry);
    const headers = copyEndToEndHeaders(response.headers);
    if (type.startsWith('text/event-stream') && response.body) {
      const body = proxyEvents(response.body, deadline, toError);
      return new Response(body, { status: response.status, headers });
    }
    const text = await response.text().catch(() => {
      throw toError();
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
  // A proxy that compresses buffers events.
  headers.set('accept-encoding', 'identity');
  return new Request(base + pathname + search, {
    method: context.req.method,
    headers,
    body: await context.req.text(),
    redirect: 'manual',
    signal,
  });
}

/** Throws unless status, type and headers are those of an Attune, and not of a proxy or another API. */
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
  if (status >= 300 && status < 400) return `redirects to ${headers.get('location')}; set the URL it redirects to`;
  if (!/^(application\/json|text\/event-stream)\b/.test(type))
    return `responded ${status} with ${type || 'no content-type'}, which is not this API`;
  if (status === 401 || status === 403)
    return `responded ${status}: it rejects a key that this Worker accepts; give both the same API_KEY`;
  if (status === 404)
    return 'responded 404 for a policy that exists here; give both the same Postgres and policy store, and remove any extra path from the URL';
  if (status < 400 && !headers.has('x-attune-compute') && !headers.has('idempotent-replayed'))
    return `responded ${status} and is not an Attune`;
  return null;
}

function assertErrorShape(upstream: Upstream, status: number, text: string, retry: boolean): void {
  if (status >= 400 && !isErrorBody(text))
    throw unavailable(upstream, `responded ${status} with an unknown error body`, retry);
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
  const aborted = findAbortError(upstream, deadline);
  if (aborted) return aborted;
  return new AttuneError(`${upstream.name} closed the connection in the middle of its response; ${upstream.remedy}`, {
    status: 502,
    code: 'upstream_interrupted',
    retry,
  });
}

/** The error for a request that the deadline or the client ended; null if neither did. */
function findAbortError({ name, remedy }: Upstream, { signal, hasPassed }: Deadline): AttuneError | null {
  if (hasPassed())
    return new AttuneError(`${name} did not finish its response within REQUEST_TIMEOUT; ${remedy}`, {
      status: 504,
      code: 'upstream_timeout',
      retry: false,
    });
  return signal.aborted ? cancelled() : null;
}

function unavailable({ name, remedy }: Upstream, problem: string, retry: boolean): AttuneError {
  return new AttuneError(`${name} ${problem}; ${remedy}`, { status: 503, code: 'upstream_unavailable', retry });
}

function misconfigured({ name }: Upstream, problem: string): AttuneError {
  return new AttuneError(`${name} ${problem}`, { status: 502, code: 'upstream_misconfigured', retry: false });
}
