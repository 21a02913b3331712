// Preferences by the file: import and export, both streamed, and how many there are.

import { type OpenAPIHono, z } from '@hono/zod-openapi';
import { AttuneError } from '../../shared/error.ts';
import { countPreferences, exportPreferences, importPreferences } from '../../shared/preferences/store.ts';
import { addOperation } from '../http/operation.ts';
import type { Ports } from '../ports.ts';

const importReport = z.object({
  object: z.literal('preference.import'),
  rows: z.number(),
  imported: z.number(),
  duplicates: z.number(),
  refused: z.number(),
  errors: z.array(z.object({ row: z.number(), message: z.string() })),
});

const exportQuery = z.strictObject({ format: z.enum(['openai', 'trl']).default('openai') });

/** Before the routes with an id, which would take these names for one. */
export function addPreferenceFiles(app: OpenAPIHono, { db }: Ports): void {
  addOperation(
    app,
    {
      method: 'post',
      path: '/v1/preferences/import',
      tag: 'Collect',
      summary: 'Imports preferences as JSONL or JSON in the shapes of OpenAI, TRL, OpenPipe, ShareGPT and Arena',
      rawBody: 'application/jsonl',
      response: importReport,
    },
    async ({ context }) => ({
      object: 'preference.import',
      ...(await importPreferences(db, readSome(context.req.raw.body))),
    }),
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/preferences/export',
      tag: 'Collect',
      summary: 'Every strict preference as JSONL, streamed',
      query: exportQuery,
      response: z.string(),
      responseType: 'application/jsonl',
    },
    async ({ query }) => {
      const lines = exportPreferences(db, query.format);
      const encoder = new TextEncoder();
      const body = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const { value, done } = await lines.next();
          if (done) controller.close();
          else controller.enqueue(encoder.encode(value));
        },
      });
      return new Response(body, { headers: { 'content-type': 'application/jsonl; charset=utf-8' } });
    },
  );

  addOperation(
    app,
    {
      method: 'get',
      path: '/v1/preferences/stats',
      tag: 'Collect',
      summary: 'How many preferences there are',
      response: z.record(z.string(), z.unknown()),
    },
    async () => countPreferences(db),
  );
}

/** The body as it comes; hosts differ in whether one without a byte is there at all. */
async function* readSome(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const part of (body ?? []) as unknown as AsyncIterable<Uint8Array>) {
    length += part.length;
    yield part;
  }
  if (length === 0) throw new AttuneError('the body is empty; send JSONL or a JSON array', { code: 'empty_body' });
}
