// An operation of the API: what it accepts, returns and needs, and its handler. app.ts gives it a method and a path. Its
// schemas validate the request and become its part of the OpenAPI document. Handlers return a value, or throw AttuneError.

import type { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context, MiddlewareHandler } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { assertStorable } from '../../shared/storable.ts';
import type { Ports, RequiredPolicy } from '../ports.ts';
import { errorSchema } from './errors.ts';

type Schema = z.ZodType;
type Parsed<S> = S extends Schema ? z.output<S> : undefined;

export type Operation<B extends Schema | undefined = Schema | undefined, Q extends Schema | undefined = B> = {
  summary: string;
  body?: B;
  query?: Q;
  /** the body of a 200, or of each event */
  response: Schema;
  /** the media type of the response; default: application/json */
  responseType?: string;
  /** also responds with server-sent events, if the request asks for them */
  streams?: true;
  /** the media type of a body that the handler reads itself, as a stream: its size and duration are not limited */
  rawBody?: string;
  /** how a request names the policy that must be loaded; default: it needs none */
  needsPolicy?: RequiredPolicy;
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
};

export type Route = { method: 'GET' | 'POST'; path: string; tag: string; operation: Operation };

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
  app.on(method, [path.replaceAll(/\{(\w+)\}/g, ':$1')], ...middleware, async (context: Context) => {
    const result = await operation.handler({
      ports,
      context,
      body: body && parseRequest(body, await readJson(context)),
      query: query && parseRequest(query, context.req.query()),
      param: (name) => (context.req.param(name) ?? '').replaceAll('\0', ''),
    });
    return result instanceof Response ? result : context.json(result as object);
  });
}

function addToDocument(app: OpenAPIHono, { method, path, tag, operation }: Route): void {
  const { body, rawBody, query, response, responseType = 'application/json', streams } = operation;
  app.openAPIRegistry.registerPath({
    method: method === 'GET' ? 'get' : 'post',
    path,
    summary: operation.summary,
    tags: [tag],
    // Only /v1 needs an API key.
    ...(path.startsWith('/v1/') ? {} : { security: [] }),
    request: {
      ...(body ? { body: { required: true, content: { 'application/json': { schema: body } } } } : {}),
      ...(rawBody ? { body: { required: true, content: { [rawBody]: { schema: { type: 'string' } } } } } : {}),
      ...(query ? { query: query as unknown as z.ZodObject } : {}),
    },
    parameters: [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
      name: name!,
      in: 'path' as const,
      required: true,
      schema: { type: 'string' as const },
    })),
    responses: {
      200: {
        description: 'Success',
        content: {
          [responseType]: { schema: response },
          ...(streams ? { 'text/event-stream': { schema: { type: 'string' } } } : {}),
        },
      },
      default: {
        description: 'An error in OpenAI’s shape',
        content: { 'application/json': { schema: errorSchema } },
      },
    },
  });
}

/** Parses the body as JSON, under any content-type. */
async function readJson(context: Context): Promise<unknown> {
  const text = await context.req.text();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new AttuneError(`the body is not valid JSON: ${(error as Error).message}`, { code: 'invalid_json' });
  }
  assertStorable(value);
  return value;
}

/** The parsed value. Throws an AttuneError that names the first invalid field. */
function parseRequest<S extends Schema>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const field = [...issue.path, issue.keys[0]!].join('.');
    throw new AttuneError(`unknown field "${field}"`, { param: field, code: 'unknown_parameter' });
  }
  const param = issue.path.join('.') || null;
  throw new AttuneError(`${param ? `${param}: ` : ''}${issue.message}`, { param, code: 'invalid_value' });
}
