// Types of columns of `rounds`, shared by trainer, API and demo: status, stage, pair counts and gate report.

import { z } from 'zod';

export const ROUND_STATUSES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
export type RoundStatus = (typeof ROUND_STATUSES)[number];

/** What a round trains: a policy by Direct Imitation Learning, or a reward. */
export const ROUND_METHODS = ['dil', 'reward'] as const;
export type RoundMethod = (typeof ROUND_METHODS)[number];

export const UNFINISHED_STATUSES: RoundStatus[] = ['queued', 'running'];

export function hasEnded(status: RoundStatus): boolean {
  return !UNFINISHED_STATUSES.includes(status);
}

/** The stages of a round in order, followed by the ways in which it can end. */
export const ROUND_STAGES = [
  'queued',
  'selecting',
  'scoring',
  // Only where the training pairs are samples of the policy (distill); scoring follows again.
  'sampling',
  'training',
  'evaluating',
  'publishing',
  'activating',
  // canary: the policy gets a share of the traffic. active: the policy is active. rolled_back: it was, or was a canary, and
  // was not better. previewed: a dry run. published: another one became active in the meantime. refused: by the gate.
  'canary',
  'active',
  'rolled_back',
  'previewed',
  'published',
  'refused',
  'failed',
  'cancelled',
] as const;
export type RoundStage = (typeof ROUND_STAGES)[number];

/** `total` 0: not known. `seconds_left`: of the whole round, from the tokens to compute and the measured rate. */
export const roundProgressSchema = z.object({
  stage: z.enum(ROUND_STAGES),
  done: z.number(),
  total: z.number(),
  seconds_left: z.number().nullable(),
});
export type RoundProgress = z.output<typeof roundProgressSchema>;

/** A line of a dry run: what it says about what. */
export const previewLineSchema = z.object({ name: z.string(), text: z.string() });
export type PreviewLine = z.output<typeof previewLineSchema>;

/**
 * near_identical: two responses of an edit similarity of 0.9 or more. contradictory: chosen both ways. low_agreement: of
 * several raters fewer than three quarters agree.
 */
export const QUALITY_REASONS = ['near_identical', 'contradictory', 'low_agreement'] as const;
export type QualityReason = (typeof QUALITY_REASONS)[number];

export const SHARE_REASONS = ['rater_share', 'source_share'] as const;
export type ShareReason = (typeof SHARE_REASONS)[number];

/** The pairs of a round. */
export type PairCounts = {
  train: number;
  new: number;
  replay: number;
  held_out: number;
  held_out_prompts: number;
  /** Of them, those of the rounds of ancestors. */
  held_out_earlier: number;
  /**
   * over_limit: pairs beyond TRAIN_MAX_PAIRS, which are new for the next round. The others count as learned. rater_share,
   * source_share: pairs beyond the share that one rater or one key may have, held-out pairs included.
   */
  left_out: Record<'over_limit' | 'stale' | 'identical' | 'empty' | ShareReason | QualityReason, number>;
  /** Pairs that say little, held-out pairs included, whether or not the settings leave them out of the training. */
  quality: Record<QualityReason, number>;
  /** Pairs with a truncated prompt or response. */
  cut: number;
  /** The number of pairs by staleness: how many policies ago they were sampled, or unknown. */
  ages: Record<string, number>;
  /** In one epoch over the training pairs. */
  tokens: number;
  digest: string;
};

const shareCounts = {
  pairs: z.number().describe('training pairs that the round uses'),
  capped: z.number().describe('training pairs that were left out, because they would have had too large a share'),
};

export const pairOriginsSchema = z
  .object({
    sources: z
      .record(z.string(), z.number())
      .describe('training pairs by source: comparison, generations, raw, import, demonstration, implicit'),
    trust: z.record(z.string(), z.number()).describe('training pairs by trust: rated, feedback, imported'),
    rater_count: z.number().describe('raters of training pairs'),
    raters: z
      .array(
        z.object({
          tenant: z.string(),
          rater: z.string(),
          ...shareCounts,
          disagreement: z
            .number()
            .nullable()
            .describe(
              'share of its pairs, of those that others judged too, on which most of them chose the other side',
            ),
        }),
      )
      .describe('those with the most pairs, up to 20; of the caller’s tenant, unless it is an administrator'),
    capped_keys: z
      .array(z.object({ tenant: z.string(), key: z.string(), ...shareCounts }))
      .describe('keys whose given texts TRAIN_SOURCE_SHARE limited'),
  })
  .describe('whose the training pairs are');
/** Where the training pairs of a round are from. */
export type PairOrigins = z.output<typeof pairOriginsSchema>;

export const intervalSchema = z.object({ low: z.number(), high: z.number() });
export type Interval = z.output<typeof intervalSchema>;

const gateCheckSchema = z.object({
  name: z.enum(['improvement', 'kl', 'chosen_drop', 'length', 'repetition', 'finite']),
  measured: z.number().nullable(),
  interval: intervalSchema.nullable().describe('95%, by resampling prompts; null if there are too few'),
  bound: z.number().nullable(),
  pass: z.boolean(),
  needed: z
    .number()
    .nullable()
    .optional()
    .describe('improvement: held-out prompts with which a policy this much better would pass four times in five'),
  message: z.string().describe('what was measured, the bound and, if it does not pass, what to do'),
});
export type GateCheck = z.output<typeof gateCheckSchema>;

export const gateReportSchema = z
  .object({
    pass: z.boolean(),
    checks: z.array(gateCheckSchema),
    intervals: z
      .record(z.string(), intervalSchema.nullable())
      .describe('95% intervals of the metrics on held-out pairs'),
  })
  .describe('the checks that decide whether the policy is published or refused');
export type GateReport = z.output<typeof gateReportSchema>;

const pairStatisticsSchema = z.object({
  'rewards/margins': z.number().describe('of log-ratios to the reference of the round'),
  'rewards/accuracies': z.number().describe('the share of positive margins; a tie counts half'),
  'logps/chosen': z.number(),
});

export const earlierRoundSchema = z
  .object({
    round: z.string().describe('the earlier round, which learned the pairs first'),
    pairs: z.number(),
    prompts: z.number(),
    before: pairStatisticsSchema.describe('under the policy that the round would replace'),
    after: pairStatisticsSchema.describe('under the policy that the round trained'),
    margin_change: z.object({ value: z.number(), interval: intervalSchema.nullable() }),
    forgotten: z.boolean().describe('whether the whole interval of the change is below 0'),
  })
  .describe('held-out pairs of an earlier round, before and after');
export type EarlierRound = z.output<typeof earlierRoundSchema>;
