// A preference that is changed or retracted by whoever gave it, until a round has used it, or erased by an administrator.

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { countRows } from '../../shared/access/row-quota.ts';
import { preferences } from '../../shared/database/schema.ts';
import { changeVote, type Reviser, retractVote } from '../../shared/erasure/revise.ts';
import { hasScope } from '../../shared/scopes.ts';
import { hideInstructions } from '../comparisons/embedded.ts';
import { notFound } from '../http/errors.ts';
import { defineOperation } from '../http/operation.ts';
import { findOr404 } from '../http/resource.ts';
import { getCallerId, getOwner, getRowQuota, getScopes } from '../middleware/auth.ts';
import { nameRater } from '../preferences/name-rater.ts';
import { assertMayDemonstrate, detailFields, redactDetails } from '../preferences/vote-details.ts';
import { deletedSchema, eraseRow } from './erasures.ts';
import { choiceField, preference, toPreference } from './preferences.ts';

export const changePreference = defineOperation({
  scopes: ['rate', 'feedback'],
  takesEmbedTokens: true,
  summary: 'Changes your vote, or what it says besides, until a round has used it',
  idempotent: true,
  body: z
    .strictObject({ choice: choiceField.optional(), ...detailFields })
    .refine((body) => Object.values(body).some((value) => value !== undefined), {
      path: ['choice'],
      error: 'give another choice, or what the vote says besides: strength, tags, comment, seconds, edit',
    }),
  response: preference,
  async handler({ ports, context, commit, body, param }) {
    assertMayDemonstrate(context, body.edit, 'edit');
    const { details, isRedacted } = await redactDetails(ports.redact, body);
    return commit(async (transaction) => {
      const change = { choice: body.choice, ...details, isRedacted };
      const stored = await changeVote(transaction, param('id'), change, getReviser(context));
      if (!stored) throw notFound('preference of yours', param('id'));
      await countRows(transaction, getRowQuota(context), body.edit == null ? 1 : 2);
      const { vote, demonstration } = stored;
      return hideInstructions(context, toPreference(vote, [], { demonstration: demonstration?.id }));
    });
  },
});

const DELETED = 'preference.deleted';

export const deletePreference = defineOperation({
  scopes: ['rate', 'feedback'],
  takesEmbedTokens: true,
  summary: 'Retracts your vote, until a round has used it; for an administrator: erases any preference',
  response: deletedSchema(DELETED),
  handler: ({ context, commit, param }) =>
    commit(async (transaction) => {
      const id = param('id');
      if (hasScope(getScopes(context), [])) {
        await findOr404(transaction, preferences, 'preference', id, null);
        return eraseRow(transaction, { kind: 'preference', id, object: DELETED }, getCallerId(context));
      }
      if (!(await retractVote(transaction, id, getReviser(context)))) throw notFound('preference of yours', id);
      return { id, object: DELETED, deleted: true as const, erasure: null };
    }),
});

function getReviser(context: Context): Reviser {
  const { embedding } = context.get('identity') ?? {};
  const limits = embedding && {
    rater: nameRater(context, undefined),
    comparison_id: embedding.comparison ?? undefined,
  };
  return { ...getOwner(context), ...limits };
}
