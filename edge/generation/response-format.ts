// response_format as OpenAI has it: any text, any JSON object, or the documents of a JSON Schema.

import { z } from '@hono/zod-openapi';

export const responseFormatField = z
  .discriminatedUnion('type', [
    z.strictObject({ type: z.literal('text') }),
    z.strictObject({ type: z.literal('json_object') }),
    z.strictObject({
      type: z.literal('json_schema'),
      json_schema: z.strictObject({
        name: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/, 'give 1 to 64 letters, digits, - and _'),
        description: z.string().max(1024).nullish(),
        schema: z.record(z.string(), z.unknown()).optional(),
        strict: z.boolean().nullish().openapi({ description: 'every schema is kept to exactly, strict or not' }),
      }),
    }),
  ])
  .nullish()
  .openapi({ description: 'json_object: the text is a JSON object; json_schema: a document of the schema' });

type Requested = z.output<typeof responseFormatField>;

/** What restricts the text. */
export type ResponseFormat = Exclude<NonNullable<Requested>, { type: 'text' }>;

/** null: any text. */
export function toResponseFormat(requested: Requested): ResponseFormat | null {
  return !requested || requested.type === 'text' ? null : requested;
}

/** The schema of a format, and its path in the request. */
export function getSchema(format: ResponseFormat): [schema: unknown, path: string] {
  const schema = format.type === 'json_schema' ? format.json_schema.schema : undefined;
  return [schema ?? { type: 'object' }, 'response_format.json_schema.schema'];
}
