// POST /v1/score: the log-probabilities of given responses under a policy and its reference, their difference, which
// is the policy's implicit reward, and the value of a reward. Nothing is stored.

import { z } from '@hono/zod-openapi';
import { AttuneError } from '../../shared/error.ts';
import type { Settings } from '../../shared/settings.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';
import { describeInterruption } from '../generation/interruption.ts';
import { modelField, modelName } from '../generation/sampling-fields.ts';
import { openDeadline } from '../http/deadline.ts';
import { chatMessages } from '../http/messages.ts';
import { defineOperation } from '../http/operation.ts';
import { getCaller } from '../middleware/auth.ts';
import { encodePairs } from '../scoring/encode-pairs.ts';
import { openReference } from '../scoring/reference.ts';
import { openReward, validateRewardLength } from '../scoring/reward.ts';
import { type ScoreListener, scoreResponses, sum, type TokenPair } from '../scoring/score-responses.ts';

const MAX_RESPONSES = 64;

const NEEDS_TEXT = 'give a text, or an array of token ids, neither empty';
const textOrTokens = z.union([z.string().min(1, NEEDS_TEXT), z.array(z.number().int().min(0)).min(1, NEEDS_TEXT)], {
  error: NEEDS_TEXT,
});

const scoreBody = z
  .strictObject({
    model: modelField.openapi({ description: 'the policy that scores; default: the active one' }),
    reference: modelName
      .nullish()
      .openapi({ description: 'a policy; default: the root, the first policy of the line; null: none' }),
    reward: modelName.optional().openapi({ description: 'the id of a reward that scores the responses too' }),
    messages: chatMessages.optional(),
    prompt: textOrTokens.optional(),
    responses: z
      .array(textOrTokens)
      .min(1, 'give at least one response')
      .max(MAX_RESPONSES)
      .optional()
      .openapi({ description: 'texts, or token ids, which are scored as they are' }),
    response: textOrTokens.optional().openapi({ description: 'instead of responses, if there is one' }),
    eos: z.boolean().nullish().openapi({
      description: 'whether a text ends with the end-of-text token, as the trainer reads it; default: true',
    }),
    tokens: z
      .boolean()
      .nullish()
      .openapi({ description: 'whether the scores of the tokens are returned too; default: true' }),
  })
  .refine((body) => (body.messages === undefined) !== (body.prompt === undefined), {
    path: ['messages'],
    error: 'give either messages or prompt',
  })
  .refine((body) => (body.responses === undefined) !== (body.response === undefined), {
    path: ['responses'],
    error: 'give either responses or response',
  })
  .transform(({ response, ...body }) => ({ ...body, responses: body.responses ?? [response!] }))
  .refine(({ prompt, responses }) => !Array.isArray(prompt) || responses.every((response) => Array.isArray(response)), {
    path: ['responses'],
    error: 'give token ids, as in prompt: how a text splits into tokens depends on the text before it',
  });

const nullableNumber = z.number().nullable();

const scoreList = z
  .object({
    object: z.literal('list'),
    model: z.string(),
    reference: z.string().nullable(),
    reward: z.string().nullable(),
    data: z.array(
      z.object({
        object: z.literal('score'),
        index: z.number(),
        logp: z.number().openapi({ description: 'log π of the response, the sum over its tokens' }),
        ref_logp: nullableNumber.openapi({ description: 'log π_ref; null without a reference' }),
        log_ratio: nullableNumber.openapi({ description: 'log π − log π_ref, the implicit reward' }),
        reward: nullableNumber.openapi({ description: 'r(x, y) by the reward of the request' }),
        tokens: z
          .array(
            z.object({
              id: z.number(),
              token: z.string(),
              logp: z.number(),
              ref_logp: nullableNumber,
              log_ratio: nullableNumber,
            }),
          )
          .optional(),
      }),
    ),
    usage: z.object({ prompt_tokens: z.number(), total_tokens: z.number() }),
  })
  .openapi('ScoreList');

export const createScore = defineOperation({
  scopes: ['generate'],
  summary: 'Scores given responses: their log-probabilities under a policy and its reference',
  needsPolicy: 'body and reference',
  body: scoreBody,
  response: scoreList,
  async handler({ ports, context, body }) {
    const { id: callerId, turn, signal } = getCaller(context);
    validateCount(body.responses.length, ports.settings);
    const deadline = openDeadline(ports.settings.REQUEST_TIMEOUT, signal);
    const waiter = { tenant: turn, signal: deadline.signal };
    let settleTokens = async (_used: number) => {};
    let pairs: TokenPair[] = [];
    let hasStarted = false;
    const scored = new Set<number>();
    const listener: ScoreListener = {
      onStart: () => {
        hasStarted = true;
      },
      onScored: (index) => scored.add(index),
    };
    try {
      const policy = await ports.inference.getScorer(body.model);
      const reference = await openReference(ports, policy.id, 'reference', body.reference);
      const reward = body.reward === undefined ? null : await openReward(ports, policy.id, 'reward', body.reward);
      const texts = { prompt: body.messages ?? body.prompt!, responses: body.responses, eos: body.eos !== false };
      pairs = await encodePairs(texts, reference ? [policy, reference] : [policy], waiter);
      const rows = pairs.map(({ promptIds, responseIds }) => [...promptIds, ...responseIds]);
      if (reward) for (const row of rows) validateRewardLength(row.length, reward, 'responses');
      const tokens = countTokens(pairs);
      if (ports.rateLimits) settleTokens = await ports.rateLimits.reserveTokens(callerId, tokens);
      const [logps, refLogps, rewards] = await Promise.all([
        scoreResponses(policy, pairs, waiter, listener),
        reference && scoreResponses(reference, pairs, waiter, listener),
        reward?.score(rows, waiter),
      ]);
      const listTokens = body.tokens === false ? null : policy.tokenizer;
      return {
        object: 'list',
        model: policy.id,
        reference: reference?.id ?? null,
        reward: reward?.id ?? null,
        data: pairs.map((pair, index) => ({
          ...toScore(index, listTokens, pair, logps[index]!, refLogps?.[index]),
          reward: rewards?.[index] ?? null,
        })),
        usage: { prompt_tokens: tokens, total_tokens: tokens },
      };
    } catch (error) {
      throw deadline.signal.aborted ? describeInterruption(deadline, hasStarted, 'score') : error;
    } finally {
      // If one of them failed, this cancels the others.
      deadline.close();
      await settleTokens(countTokens(pairs.filter((_, index) => scored.has(index))));
    }
  },
});

/** More would never find enough places, however long the client waits. */
function validateCount(count: number, { MAX_ROWS, MAX_QUEUE }: Settings): void {
  const places = MAX_ROWS + MAX_QUEUE;
  if (count <= places) return;
  throw new AttuneError(
    `responses: ${count} responses exceed the ${places} that run and wait together (MAX_ROWS + MAX_QUEUE); give ` +
      `${places} or less`,
    { param: 'responses', code: 'responses_exceeded' },
  );
}

/** The prompt counts once. */
function countTokens(pairs: TokenPair[]): number {
  return pairs.reduce((total, { responseIds }) => total + responseIds.length, pairs[0]?.promptIds.length ?? 0);
}

/** Without a tokenizer the tokens are left out. */
function toScore(
  index: number,
  tokenizer: Tokenizer | null,
  { responseIds }: TokenPair,
  logps: number[],
  refLogps?: number[],
) {
  const toRatio = (logp: number, refLogp: number | undefined) => ({
    logp,
    ref_logp: refLogp ?? null,
    log_ratio: refLogp === undefined ? null : logp - refLogp,
  });
  return {
    object: 'score',
    index,
    ...toRatio(sum(logps), refLogps && sum(refLogps)),
    ...(tokenizer && {
      tokens: responseIds.map((id, at) => ({
        id,
        token: tokenizer.decodeToken(id),
        ...toRatio(logps[at]!, refLogps?.[at]),
      })),
    }),
  };
}
