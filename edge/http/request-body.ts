// Reads the JSON of a request and validates it against a schema. An error names the first field that is
// unknown, or else invalid.

import type { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { assertStorable, parseShallowJson } from '../../shared/storable.ts';
import { describeIssue } from './describe-issue.ts';

/** Parses the body as JSON, under any content-type. */
export async function readJson(context: Context): Promise<unknown> {
  const text = await context.req.text();
  let value: unknown;
  try {
    value = parseShallowJson(text);
  } catch (error) {
    if (error instanceof AttuneError) throw error;
    throw new AttuneError(`the body is not valid JSON: ${(error as Error).message}`, { code: 'invalid_json' });
  }
  assertStorable(value);
  return value;
}

/** The parsed value. A misspelled field is named before the one that is missing for it. */
export function parseRequest<S extends z.ZodType>(schema: S, value: unknown): z.output<S> {
  const result = schema.safeParse(value, { error: describeIssue });
  if (result.success) return result.data;
  const { issues } = result.error;
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const field = [...issue.path, issue.keys[0]!].join('.');
    throw new AttuneError(`unknown field "${field}"`, { param: field, code: 'unknown_parameter' });
  }
  const param = issue.path.join('.') || null;
  throw new AttuneError(`${param ? `${param}: ` : ''}${issue.message}`, { param, code: 'invalid_value' });
}
