// What a queue asks of its raters and how it chooses its items. Stored as JSON, with every default written out.

import { z } from 'zod';

const share = z.number().min(0).max(1);
const policy = z.string().min(1).max(200);

/** Which responses meet in the comparison of an item. */
const pairing = z.discriminatedUnion('type', [
  /** as `canary`, or two responses of `policy` */
  z.strictObject({ type: z.literal('same'), policy: policy.optional() }),
  /** one of a canary's candidate and one of the active policy; while none runs, two of the active policy */
  z.strictObject({ type: z.literal('canary') }),
  z.strictObject({ type: z.literal('policies'), policies: z.array(policy).length(2) }),
  /** the response that its item gives, and a fresh one of the active policy, or of `policy` */
  z.strictObject({ type: z.literal('given'), policy: policy.optional() }),
]);

export const queueSettingsSchema = z.strictObject({
  pairing: pairing.describe('which responses meet').default({ type: 'same' }),
  reviews: z.int().min(1).max(100).describe('votes for each item').default(1),
  raters: z
    .array(z.string().max(200))
    .max(10_000)
    .describe('ids of raters who may rate, besides those with a skill; without both: every rater')
    .default([]),
  skills: z.array(z.string().max(64)).max(50).describe('raters with one of these skills may rate').default([]),
  order: z.enum(['random', 'imported']).describe('of items with equally many reviews').default('random'),
  deadline: z.iso
    .datetime({ offset: true })
    .nullable()
    .describe('an ISO time, after which no item is given out')
    .default(null),
  strength: z
    .enum(['off', 'optional', 'required'])
    .describe('whether raters say by how much a side is better')
    .default('optional'),
  tags: z.array(z.string().trim().min(1).max(64)).max(30).describe('reasons to choose from').default([]),
  edits: z.boolean().describe('whether raters may improve the better response').default(true),
  reveal: z.boolean().describe('whether a rater sees the policies of both sides after the vote').default(false),
  reservation_seconds: z
    .int()
    .min(10)
    .max(86_400)
    .describe('after which an item is given to somebody else')
    .default(600),
  gold_share: share.describe('of reservations: items with a known answer').default(0.1),
  repeat_share: share.describe('of reservations: items that the rater has voted on before').default(0.05),
  calibration: z
    .strictObject({ items: z.int().min(0).max(100).default(0), accuracy: share.default(0.6) })
    .describe('how many calibration items a new rater answers first, and the share of them that must be right')
    .prefault({}),
  pause: z
    .strictObject({ gold_accuracy: share.default(0.6), gold_items: z.int().min(1).max(1000).default(10) })
    .describe('a rater below this accuracy on the last so many gold items is paused')
    .prefault({}),
  temperature: z.number().min(0).max(2).describe('of the generated sides').default(1),
  max_tokens: z.int().min(1).max(100_000).describe('of each generated side, or as many as fit').default(512),
});

export type QueueSettings = z.output<typeof queueSettingsSchema>;

type Shape = typeof queueSettingsSchema.shape;

/** Any of the settings. Without their defaults, which would change those that are not given. */
export const queueSettingsChanges = z.strictObject(
  Object.fromEntries(
    Object.entries(queueSettingsSchema.shape).map(([field, schema]) => [field, schema.unwrap().optional()]),
  ) as { [Field in keyof Shape]: z.ZodOptional<ReturnType<Shape[Field]['unwrap']>> },
);
