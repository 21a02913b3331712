// Who gives a vote or feedback.

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { AttuneError } from '../../shared/error.ts';
import { hasScope } from '../../shared/scopes.ts';
import { getCallerId, getScopes } from '../middleware/auth.ts';

/** How Attune names raters: not what a backend calls its end users. */
const RESERVED_NAME = /^(user:|import:|rater_|key_)/;
const RESERVED_NAME_ADVICE = 'give your own name for the end user; Attune adds user: itself';

export const namedRater = z
  .string()
  .min(1)
  .max(200)
  .refine((name) => !RESERVED_NAME.test(name), RESERVED_NAME_ADVICE)
  .optional()
  .openapi({ description: 'the end user who chose, stored as user:…; needs the scope feedback' });

/**
 * A rater who signed in votes as that rater, and a key without the scope feedback as itself. Only a backend names its end
 * users, as `user:…`, so that none of them can pass for a rater; an embed token votes as the one for whom it was made.
 */
export function nameRater(context: Context, named: string | undefined): string {
  const { embedding } = context.get('identity') ?? {};
  if (embedding && named === undefined) return embedding.user === null ? 'anonymous' : `user:${embedding.user}`;
  if (hasScope(getScopes(context), ['feedback'])) return named === undefined ? 'anonymous' : `user:${named}`;
  if (named === undefined) return getCallerId(context);
  throw new AttuneError(
    `rater: ${embedding ? 'an embed token votes as the user that it names' : `${getCallerId(context)} votes as itself`}; leave rater out, or use a key with the scope feedback, which may name ` +
      'its end users',
    { status: 403, param: 'rater', code: 'insufficient_scope', retry: false },
  );
}
