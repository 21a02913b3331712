// The request fields that chat completions, completions and comparisons share, with OpenAI's names and bounds (top_k
// and min_p: vLLM's).

import { z } from '@hono/zod-openapi';
import { BUILT_IN_RANKERS } from '../scoring/ranker.ts';
import type { CompletionRequest } from './prepare.ts';
import { responseFormatField } from './response-format.ts';

export const MAX_CHOICES = 16;

const MAX_BIASES = 300;
const MAX_STOP_LENGTH = 512;
const [MAX_METADATA_KEYS, MAX_METADATA_KEY_LENGTH, MAX_METADATA_LENGTH] = [16, 64, 512];

const stopString = z.string().min(1).max(MAX_STOP_LENGTH);

/** Well above the length of any policy's id. */
export const modelName = z.string().max(200);
export const modelField = modelName.optional();

const RANKER = new RegExp(`^(${BUILT_IN_RANKERS.join('|')}|rwd_.*)$`);

export const candidateFields = {
  n: z.number().int().min(1).max(MAX_CHOICES).nullish(),
  best_of: z
    .number()
    .int()
    .min(1)
    .nullish()
    .openapi({ description: 'how many candidates are sampled, of which the best n are returned; default: n' }),
  ranker: z
    .string()
    .max(200)
    .regex(RANKER, `give ${BUILT_IN_RANKERS.join(', ')}, or the id of a reward`)
    .nullish()
    .openapi({
      description:
        'what candidates are ranked by: mean_logp (the mean log-probability of their tokens, the default), log_ratio ' +
        '(log π − log π_ref of the whole response, the implicit reward of the policy against the first of its line), or a ' +
        'reward',
    }),
};

type CandidateFields = z.output<z.ZodObject<typeof candidateFields & Pick<typeof streamFields, 'stream'>>>;

/** What the fields have to be together. */
export function refineCandidates<S extends z.ZodType<CandidateFields>>(schema: S): S {
  return schema
    .refine((body) => body.best_of == null || body.best_of >= (body.n ?? 1), {
      path: ['best_of'],
      error: 'candidates are fewer than the n choices to return; give n or more',
    })
    .refine((body) => !body.stream || getRanker(body) === null, {
      path: ['stream'],
      error: 'a choice is known only when all candidates are ranked, so it cannot be streamed; omit stream',
    });
}

/** The name of the ranker; null if the choices are not ranked. */
export function getRanker({ n, best_of, ranker }: Omit<CandidateFields, 'stream'>): string | null {
  return ranker ?? ((best_of ?? 1) > (n ?? 1) ? 'mean_logp' : null);
}

export const regeneratedFromField = z
  .string()
  .min(1)
  .max(200)
  .nullish()
  .openapi({ description: 'the generation that this one takes the place of, because its user did not keep it' });

export const streamFields = {
  stream: z.boolean().nullish(),
  stream_options: z.strictObject({ include_usage: z.boolean().optional() }).nullish(),
};

export const samplingFields = {
  max_tokens: z.number().int().min(1).nullish(),
  temperature: z.number().min(0).max(2).nullish(),
  top_p: z.number().gt(0).max(1).nullish(),
  top_k: z.number().int().min(0).nullish().openapi({ description: '0: off' }),
  min_p: z.number().min(0).max(1).nullish(),
  presence_penalty: z.number().min(-2).max(2).nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  logit_bias: z
    .record(z.string().regex(/^\d{1,9}$/), z.number().min(-100).max(100), {
      error: (issue) => (issue.code === 'invalid_key' ? 'the keys are token ids: whole numbers' : undefined),
    })
    .refine((biases) => Object.keys(biases).length <= MAX_BIASES, `give at most ${MAX_BIASES} tokens`)
    .nullish(),
  stop: z
    .union([stopString, z.array(stopString).max(4)], {
      error: `give a text of 1 to ${MAX_STOP_LENGTH} characters, or at most 4 of them`,
    })
    .nullish(),
  response_format: responseFormatField,
  seed: z
    .number()
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .nullish()
    .openapi({ description: 'the same seed gives the same text' }),
  user: z.string().max(512).nullish(),
  metadata: z
    .record(z.string(), z.string().max(MAX_METADATA_LENGTH))
    .refine((metadata) => Object.keys(metadata).length <= MAX_METADATA_KEYS, `give at most ${MAX_METADATA_KEYS} keys`)
    .refine(
      (metadata) => Object.keys(metadata).every((key) => key.length <= MAX_METADATA_KEY_LENGTH),
      `a key is longer than ${MAX_METADATA_KEY_LENGTH} characters; shorten it`,
    )
    .nullish(),
};

export type SamplingFields = z.output<z.ZodObject<typeof samplingFields>>;

/** OpenAI's defaults: temperature 1, top_p 1, everything else off. */
export function toSampling(body: SamplingFields, topLogprobs: number): CompletionRequest['sampling'] {
  return {
    maxTokens: body.max_tokens ?? null,
    temperature: body.temperature ?? 1,
    topP: body.top_p ?? 1,
    topK: body.top_k ?? 0,
    minP: body.min_p ?? 0,
    frequencyPenalty: body.frequency_penalty ?? 0,
    presencePenalty: body.presence_penalty ?? 0,
    logitBias: Object.fromEntries(Object.entries(body.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias])),
    seed: body.seed ?? null,
    stop: typeof body.stop === 'string' ? [body.stop] : (body.stop ?? []),
    topLogprobs,
  };
}
