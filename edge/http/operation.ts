// An operation of the API: what it accepts, returns and needs, and its handler. app.ts gives it a method and a path. Its
// schemas validate the request and become its part of the OpenAPI document. Handlers return a value, or throw AttuneError.

import type { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context, MiddlewareHandler } from 'hono';
import { SCOPES, type Scope } from '../../shared/scopes.ts';
import type { PublicEndpoint } from '../../shared/settings.ts';
import type { Ports, RequiredPolicy } from '../ports.ts';
import { errorSchema } from './errors.ts';
import { commitOnce, IDEMPOTENCY_HEADER, MAX_KEY_LENGTH, recoverResponse, type Transaction } from './idempotency.ts';
import { parseRequest, readJson } from './request-body.ts';

type Schema = z.ZodType;
type Parsed<S> = S extends Schema ? z.output<S> : undefined;

export type Operation<B extends Schema | undefined = Schema | undefined, Q extends Schema | undefined = B> = {
  summary: string;
  /** what the key of a request must be allowed, one of these; null: no key is needed */
  scopes: readonly Scope[] | null;
  /** also takes an embed token, whatever its scopes: the handler checks that the token is for what the request is about */
  takesEmbedTokens?: true;
  /** the entry of PUBLIC_ENDPOINTS that makes it public: no key is needed then */
  publicAs?: PublicEndpoint;
  /** one with a default may be left out */
  body?: B;
  query?: Q;
  /** the body of a 200, or each of its server-sent events */
  response: Schema;
  /** the media type of the response; default: application/json */
  responseType?: string;
  /** further media types that a request can ask for */
  otherTypes?: string[];
  /** also responds with server-sent events, if the request asks for them */
  streams?: true;
  /** the media type of a body that the handler reads itself, as a stream: its size and duration are not limited */
  rawBody?: string;
  /** how a request names the policy that must be loaded; default: it needs none */
  needsPolicy?: RequiredPolicy;
  /** takes effect once for each Idempotency-Key: what it changes, it changes in `commit` */
  idempotent?: true;
  /** the answer to a repeated request, from the stored response; default: that response */
  replay?(response: unknown, body: Parsed<B>): unknown;
  /** omits the operation from the OpenAPI document */
  hide?: true;
  handler(call: Call<B, Q>): Promise<unknown>;
};

export type Call<B extends Schema | undefined, Q extends Schema | undefined> = {
  ports: Ports;
  context: Context;
  body: Parsed<B>;
  query: Parsed<Q>;
  param(name: string): string;
  /** Runs `work` in a transaction; if the operation is idempotent, its result is the response that is stored. */
  commit: Commit;
};

export type Commit = <T>(work: (transaction: Transaction) => Promise<T>) => Promise<T>;

export type Route = { method: 'GET' | 'POST' | 'DELETE'; path: string; tag: string; operation: Operation };

/** Infers the types that the handler receives from the schemas. */
export function defineOperation<B extends Schema | undefined = undefined, Q extends Schema | undefined = undefined>(
  operation: Operation<B, Q>,
): Operation<B, Q> {
  return operation;
}

/** Registers the operation on the app, behind its own middleware, and in the OpenAPI document. */
export function addOperation(app: OpenAPIHono, route: Route, middleware: MiddlewareHandler[], ports: Ports): void {
  const { method, path, operation } = route;
  const { body, query } = operation;
  if (!operation.hide) addToDocument(app, route);
  app.on(method, [toPattern(path)], ...middleware, async (context: Context) => {
    const request = context.get('idempotentRequest');
    const call = {
      ports,
      context,
      body: body && (await readBody(body, context)),
      query: query && parseRequest(query, context.req.query()),
      param: (name: string) => (context.req.param(name) ?? '').replaceAll('\0', ''),
      commit: <T>(work: (transaction: Transaction) => Promise<T>) => commitOnce(ports, request, work),
    };
    try {
      return toResponse(context, await operation.handler(call));
    } catch (error) {
      return replayResponse(context, operation, await recoverResponse(ports, request, error));
    }
  });
}

/** The path as Hono writes it. */
export function toPattern(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}

/** Answers a repeated request. The header is Stripe's. */
export async function replayResponse(context: Context, operation: Operation, stored: unknown): Promise<Response> {
  const { body, replay } = operation;
  const answer = replay ? replay(stored, body && (await readBody(body, context))) : stored;
  const response = toResponse(context, answer);
  response.headers.set('idempotent-replayed', 'true');
  return response;
}

async function readBody(schema: Schema, context: Context): Promise<unknown> {
  const isLeftOut = isOptional(schema) && (await context.req.text()) === '';
  return parseRequest(schema, isLeftOut ? undefined : await readJson(context));
}

const isOptional = (schema: Schema) => schema.safeParse(undefined).success;

function toResponse(context: Context, answer: unknown): Response {
  return answer instanceof Response ? answer : context.json(answer as object);
}

/** One event of a stream: OpenAPI describes each of them, not the whole. */
const eventSchema = {
  type: 'object' as const,
  required: ['data'],
  properties: { data: { type: 'string' as const, description: 'a chunk as JSON, or [DONE]' } },
};

const idempotencyParameter = {
  name: IDEMPOTENCY_HEADER,
  in: 'header' as const,
  required: false,
  description: 'a unique text: requests with the same key and content take effect once, and get the same response',
  schema: { type: 'string' as const, minLength: 1, maxLength: MAX_KEY_LENGTH },
};

const describeError = (description: string) => ({
  description,
  content: { 'application/json': { schema: errorSchema } },
});

function describeAccess(scopes: readonly Scope[]): string {
  const sufficient = SCOPES.filter((scope) => scope === 'admin' || scopes.includes(scope));
  if (sufficient.length === SCOPES.length) return 'Needs any key or session.';
  return `Needs a key with the scope ${sufficient.join(' or ')}.`;
}

function addToDocument(app: OpenAPIHono, { method, path, tag, operation }: Route): void {
  const { body, rawBody, query, response, streams, idempotent, scopes } = operation;
  const { responseType = 'application/json', otherTypes = [] } = operation;
  app.openAPIRegistry.registerPath({
    method: method.toLowerCase() as 'get' | 'post' | 'delete',
    path,
    summary: operation.summary,
    ...(scopes ? { description: describeAccess(scopes) } : {}),
    tags: [tag],
    ...(scopes ? {} : { security: [] }),
    request: {
      ...(body ? { body: { required: !isOptional(body), content: { 'application/json': { schema: body } } } } : {}),
      ...(rawBody ? { body: { required: true, content: { [rawBody]: { schema: { type: 'string' } } } } } : {}),
      ...(query ? { query: query as unknown as z.ZodObject } : {}),
    },
    parameters: [
      ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
        name: name!,
        in: 'path' as const,
        required: true,
        schema: { type: 'string' as const },
      })),
      ...(idempotent ? [idempotencyParameter] : []),
    ],
    responses: {
      200: {
        description: 'Success',
        content: {
          [responseType]: { schema: response },
          ...Object.fromEntries(otherTypes.map((type) => [type, { schema: { type: 'string' as const } }])),
          ...(streams ? { 'text/event-stream': { schema: eventSchema } } : {}),
        },
      },
      ...(idempotent ? { 409: describeError('The Idempotency-Key was used for a different request') } : {}),
      default: describeError('An error in OpenAI’s shape'),
    },
  });
}
