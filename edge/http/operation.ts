// One way to add an operation: its schemas validate the request, make its part of the OpenAPI document, and its
// handler returns a value. Handlers throw AttuneError; answer.ts turns that into OpenAI's shape.

import type { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { assertStorable } from '../../shared/storable.ts';

type Schema = z.ZodType;
type Parsed<S> = S extends Schema ? z.output<S> : undefined;

export type Operation<B extends Schema | undefined, Q extends Schema | undefined> = {
  method: 'get' | 'post';
  path: string;
  summary: string;
  tag: string;
  body?: B;
  query?: Q;
  /** what a 200 carries; `text/event-stream` answers are described in the summary */
  response: Schema;
  /** the type of that, where it is not JSON */
  responseType?: string;
  /** request bodies that are not JSON are read by the handler itself */
  rawBody?: string;
};

export type Call<B extends Schema | undefined, Q extends Schema | undefined> = {
  context: Context;
  body: Parsed<B>;
  query: Parsed<Q>;
  param(name: string): string;
};

/** Registers the operation on the app and in its OpenAPI document. */
export function addOperation<B extends Schema | undefined = undefined, Q extends Schema | undefined = undefined>(
  app: OpenAPIHono,
  operation: Operation<B, Q>,
  handle: (call: Call<B, Q>) => Promise<unknown>,
): void {
  const { method, path, body, query } = operation;
  app.openAPIRegistry.registerPath({
    method,
    path,
    summary: operation.summary,
    tags: [operation.tag],
    // What is not under /v1 is open to everybody.
    ...(path.startsWith('/v1/') ? {} : { security: [] }),
    request: {
      ...(body ? { body: { required: true, content: { 'application/json': { schema: body } } } } : {}),
      ...(operation.rawBody
        ? { body: { required: true, content: { [operation.rawBody]: { schema: { type: 'string' } } } } }
        : {}),
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
        description: 'Done',
        content: { [operation.responseType ?? 'application/json']: { schema: operation.response } },
      },
      default: {
        description: 'An error in the shape of OpenAI',
        content: { 'application/json': { schema: errorJson } },
      },
    },
  });
  app[method](path.replaceAll(/\{(\w+)\}/g, ':$1'), async (context) => {
    const call: Call<B, Q> = {
      context,
      body: (body ? parse(body, await readJson(context)) : undefined) as Parsed<B>,
      query: (query ? parse(query, context.req.query()) : undefined) as Parsed<Q>,
      param: (name) => (context.req.param(name) ?? '').replaceAll('\0', ''),
    };
    const result = await handle(call);
    return result instanceof Response ? result : context.json(result as object);
  });
}

const errorJson = {
  type: 'object' as const,
  required: ['error'],
  properties: {
    error: {
      type: 'object' as const,
      required: ['message', 'type', 'param', 'code'],
      properties: {
        message: { type: 'string' as const },
        type: { type: 'string' as const },
        param: { type: ['string', 'null'] as ('string' | 'null')[] },
        code: { type: ['string', 'null'] as ('string' | 'null')[] },
      },
    },
  },
};

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

/** The value as the schema has it, or an AttuneError that names the first field that is wrong. */
export function parse<S extends Schema>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const key = [...issue.path, issue.keys[0]!].join('.');
    throw new AttuneError(`${key}: this field is not known here; leave it out`, {
      param: key,
      code: 'unknown_parameter',
    });
  }
  const param = issue.path.join('.') || null;
  throw new AttuneError(`${param ? `${param}: ` : ''}${issue.message}`, { param, code: 'invalid_value' });
}
