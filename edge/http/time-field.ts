// The beginning and the end of the time that a request asks about.

import { z } from '@hono/zod-openapi';

const time = z
  .union([z.iso.date(), z.iso.datetime({ offset: true })], {
    error: 'give an ISO 8601 date or time, for example 2026-01-31 or 2026-01-31T12:00:00Z',
  })
  .transform((text) => new Date(text))
  .openapi({ type: 'string', description: 'an ISO 8601 date or time' });

/** Query parameters; a date is its first moment, in UTC. */
export const timeRange = { since: time.optional(), until: time.optional() };
