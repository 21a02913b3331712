// What a queue asks of its raters and how it chooses its items. Stored as JSON, with every default written out.

import { z } from 'zod';

const share = z.number().min(0).max(1);
const policy = z.string().min(1).max(200);

/** Which responses meet in the comparison of an item. */
const pairing = z.discriminatedUnion('type', [
  /** two responses of the active policy, or of `policy` */
  z.strictObject({ type: z.literal('same'), policy: policy.optional() }),
  z.strictObject({ type: z.literal('policies'), policies: z.tuple([policy, policy]) }),
  /** the response that its item gives, and a fresh one of the active policy, or of `policy` */
  z.strictObject({ type: z.literal('given'), policy: policy.optional() }),
]);

export const queueSettingsSchema = z.strictObject({
  pairing: pairing.default({ type: 'same' }),
  /** votes per item */
  reviews: z.int().min(1).max(100).default(1),
  /** ids of raters; with skills, those who have one of them too; both empty: every rater of the tenant */
  raters: z.array(z.string().max(200)).max(10_000).default([]),
  skills: z.array(z.string().max(64)).max(50).default([]),
  /** of items with equally many reviews */
  order: z.enum(['random', 'imported']).default('random'),
  /** an ISO time, after which no item is given out */
  deadline: z.iso.datetime({ offset: true }).nullable().default(null),
  strength: z.enum(['off', 'optional', 'required']).default('optional'),
  /** reasons to choose from */
  tags: z.array(z.string().trim().min(1).max(64)).max(30).default([]),
  /** whether raters may improve the better response */
  edits: z.boolean().default(true),
  /** whether a rater sees the policies of both sides after the vote */
  reveal: z.boolean().default(false),
  reservation_seconds: z.int().min(10).max(86_400).default(600),
  /** share of reservations that are gold items, and of items that a rater has voted on before */
  gold_share: share.default(0.1),
  repeat_share: share.default(0.05),
  /** calibration items that a new rater votes on first, and the share of them that must be right */
  calibration: z.strictObject({ items: z.int().min(0).max(100).default(0), accuracy: share.default(0.6) }).prefault({}),
  /** A rater is paused below this accuracy on at least so many gold items, among the last so many. */
  pause: z
    .strictObject({ gold_accuracy: share.default(0.6), gold_items: z.int().min(1).max(1000).default(10) })
    .prefault({}),
  /** generation of both sides */
  temperature: z.number().min(0).max(2).default(1),
  max_tokens: z.int().min(1).max(100_000).default(512),
});

export type QueueSettings = z.output<typeof queueSettingsSchema>;

type Shape = typeof queueSettingsSchema.shape;

/** Any of the settings. Without their defaults, which would change those that are not given. */
export const queueSettingsChanges = z.strictObject(
  Object.fromEntries(
    Object.entries(queueSettingsSchema.shape).map(([field, schema]) => [field, schema.unwrap().optional()]),
  ) as { [Field in keyof Shape]: z.ZodOptional<ReturnType<Shape[Field]['unwrap']>> },
);
