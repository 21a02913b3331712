// Preferences in bulk: import and export, both streamed, and their counts.

import { z } from '@hono/zod-openapi';
import { AttuneError } from '../../shared/error.ts';
import * as store from '../../shared/preferences/store.ts';
import { defineOperation } from '../http/operation.ts';

export const importPreferences = defineOperation({
  summary: 'Imports preferences as JSONL or JSON in the shapes of OpenAI, TRL, OpenPipe, ShareGPT and Arena',
  rawBody: 'application/jsonl',
  response: z.object({
    object: z.literal('preference.import'),
    rows: z.number(),
    imported: z.number(),
    duplicates: z.number(),
    refused: z.number(),
    errors: z.array(z.object({ row: z.number(), message: z.string() })),
  }),
  handler: async ({ ports, context }) => ({
    object: 'preference.import',
    ...(await store.importPreferences(ports.db, readNonEmpty(context.req.raw.body))),
  }),
});

export const exportPreferences = defineOperation({
  summary: 'Every strict preference as JSONL, streamed',
  query: z.strictObject({ format: z.enum(['openai', 'trl']).default('openai') }),
  response: z.string(),
  responseType: 'application/jsonl',
  async handler({ ports, query }) {
    const lines = store.exportPreferences(ports.db, query.format);
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
});

export const countPreferences = defineOperation({
  summary: 'Counts preferences',
  response: z.record(z.string(), z.unknown()),
  handler: async ({ ports }) => store.countPreferences(ports.db),
});

/** Streams the body. Throws if it is empty: platforms differ in whether an empty body is null. */
async function* readNonEmpty(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const chunk of (body ?? []) as unknown as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    yield chunk;
  }
  if (length === 0) throw new AttuneError('the body is empty; send JSONL or a JSON array', { code: 'empty_body' });
}
