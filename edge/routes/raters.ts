// Raters and their invitations. The token of an invitation is in one response and nowhere else, so that operation stores no
// response for an Idempotency-Key.

import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import {
  createInvitation as createInvitationRow,
  DEFAULT_EXPIRY_HOURS,
  MAX_EXPIRY_HOURS,
  SIGN_IN_PATH,
} from '../../shared/access/invitations.ts';
import { raterName, tenantName } from '../../shared/access/names.ts';
import { createRater as create, type RaterRow, updateRater as update } from '../../shared/access/raters.ts';
import { raters } from '../../shared/database/schema.ts';
import { defineOperation } from '../http/operation.ts';
import { findOr404, getOperation, listOperation, toUnixSeconds } from '../http/resource.ts';
import { getCallerId, getReadableTenant, selectTenant } from '../middleware/auth.ts';
import { isHttps } from '../session.ts';

const MAX_SKILLS = 50;
const HOURS = `give whole hours from 1 to ${MAX_EXPIRY_HOURS}`;

const skills = z
  .array(z.string().trim().min(1, 'is empty').max(64))
  .max(MAX_SKILLS)
  .transform((list) => [...new Set(list)])
  .openapi({ description: 'by which a rater is chosen for a task: languages, subjects' });
const active = z.boolean().openapi({ description: 'a rater who is not active cannot sign in, and is signed out' });

const rater = z
  .object({
    id: z.string(),
    object: z.literal('rater'),
    created: z.number(),
    name: z.string(),
    skills: z.array(z.string()),
    active: z.boolean(),
    tenant: z.string(),
    created_by: z.string(),
  })
  .openapi('Rater');

const invitation = z
  .object({
    id: z.string(),
    object: z.literal('invitation'),
    rater: z.string(),
    url: z.string().openapi({ description: 'the link to send to the rater' }),
    token: z.string().openapi({ description: 'the invitation itself, shown this once' }),
    expires_at: z.number(),
  })
  .openapi('Invitation');

const toResponse = (row: RaterRow): z.output<typeof rater> => ({
  id: row.id,
  object: 'rater',
  created: toUnixSeconds(row.created_at),
  name: row.name,
  skills: row.skills,
  active: row.active,
  tenant: row.tenant,
  created_by: row.created_by,
});

export const createRater = defineOperation({
  scopes: ['operate'],
  summary: 'Creates a rater, a person who votes as themself once they have signed in with an invitation',
  idempotent: true,
  body: z.strictObject({
    name: raterName,
    skills: skills.default([]),
    active: active.default(true),
    tenant: tenantName.optional().openapi({ description: 'for administrators; default: your own' }),
  }),
  response: rater,
  handler: ({ context, commit, body: { tenant, ...fields } }) => {
    const owner = { tenant: selectTenant(context, tenant), created_by: getCallerId(context) };
    return commit(async (transaction) => toResponse(await create(transaction, fields, owner)));
  },
});

export const updateRater = defineOperation({
  scopes: ['operate'],
  summary: 'Changes a rater; one who is no longer active is signed out within a second',
  idempotent: true,
  body: z
    .strictObject({ name: raterName.optional(), skills: skills.optional(), active: active.optional() })
    .refine((body) => Object.keys(body).length > 0, 'give name, skills or active'),
  response: rater,
  handler: ({ context, commit, param, body }) =>
    commit(async (transaction) => {
      const row = await findOr404(transaction, raters, 'rater', param('id'), getReadableTenant(context));
      return toResponse(await update(transaction, row, body, getCallerId(context)));
    }),
});

export const createInvitation = defineOperation({
  scopes: ['operate'],
  summary: 'Creates a link that signs one browser in as the rater, once; the response is the only place that has it',
  body: z.strictObject({
    expires_in_hours: z.int(HOURS).min(1, HOURS).max(MAX_EXPIRY_HOURS, HOURS).default(DEFAULT_EXPIRY_HOURS),
  }),
  response: invitation,
  handler: ({ ports, context, param, body }) =>
    ports.db.transaction(async (transaction) => {
      const row = await findOr404(transaction, raters, 'rater', param('id'), getReadableTenant(context));
      const { id, token, expiresAt } = await createInvitationRow(
        transaction,
        row,
        body.expires_in_hours,
        getCallerId(context),
      );
      return {
        id,
        object: 'invitation',
        rater: row.id,
        url: toLink(context, token),
        token,
        expires_at: toUnixSeconds(expiresAt),
      };
    }),
});

/** At the host that this request came to. */
function toLink(context: Context, token: string): string {
  const { host } = new URL(context.req.url);
  return `${isHttps(context) ? 'https' : 'http'}://${host}${SIGN_IN_PATH}?invitation=${token}`;
}

const resource = {
  scopes: ['operate' as const, 'read' as const],
  kind: 'rater',
  table: raters,
  item: rater,
  toResponses: (rows: RaterRow[]) => rows.map(toResponse),
};

export const listRaters = listOperation({ summary: 'Lists raters', ...resource });
export const getRater = getOperation({ summary: 'One rater', ...resource });
