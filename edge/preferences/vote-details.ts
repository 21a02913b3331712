// The fields of a request that say more than the choice of a vote. Votes on comparisons and through reservations have the same.

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { VoteDetails } from '../../shared/preferences/vote-details.ts';
import { type Redact, redactValue } from '../../shared/redaction/redact.ts';
import { assertScope } from '../middleware/auth.ts';

const MAX_TAGS = 20;
const MAX_COMMENT_LENGTH = 4000;
/** Longer than anyone looks at two responses. */
const MAX_SECONDS = 1_000_000;

/** The smallest number that float32 has with all of its digits. */
const MIN_REAL = 2 ** -126;

/** To the digits that float32 keeps, as which it is stored. Postgres refuses what would become 0 in it. */
export const toReal = (value: number): number => (Math.abs(value) < MIN_REAL ? 0 : Number(value.toPrecision(6)));

export const tagsField = z
  .array(z.string().trim().min(1, 'is empty').max(64))
  .max(MAX_TAGS, `give at most ${MAX_TAGS} tags`)
  .transform((list) => [...new Set(list)]);

export const commentField = z.string().trim().min(1, 'is empty; leave it out').max(MAX_COMMENT_LENGTH);

export const betterText = z
  .string()
  .refine((text) => text.trim() !== '', 'is empty; give a better text, or leave it out');

export const strengthField = z.enum(['slightly', 'clearly', 'much']);

export const detailFields = {
  strength: strengthField.nullish().openapi({ description: 'by how much the chosen side is better' }),
  tags: tagsField.nullish().openapi({ description: 'why: the reasons that your page offers' }),
  comment: commentField.nullish(),
  seconds: z
    .number()
    .min(0)
    .max(MAX_SECONDS)
    .transform(toReal)
    .nullish()
    .openapi({ description: 'how long the rater looked' }),
  edit: betterText.nullish().openapi({
    description:
      'a better text than the chosen side: becomes a second preference, edit over chosen side; of a rater, or with the ' +
      'scope feedback',
  }),
};

/** Throws a 403 unless the caller may write what a policy should say. */
export function assertMayDemonstrate(context: Context, text: unknown, param: 'edit' | 'demonstration'): void {
  if (text == null || context.get('identity')?.kind === 'rater') return;
  assertScope(context, ['feedback'], `a ${param === 'edit' ? 'vote' : 'feedback'} with ${param}`, param);
}

/** Nothing that REDACT replaces is stored; the details of a body without any are returned themselves. */
export async function redactDetails(redact: Redact | null, body: VoteDetails) {
  const given = { tags: body.tags, comment: body.comment, edit: body.edit };
  const texts = await redactValue(redact, given);
  const { strength, seconds } = body;
  return { details: { strength, seconds, ...texts } satisfies VoteDetails, isRedacted: texts !== given };
}
