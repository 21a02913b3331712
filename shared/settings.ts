// What can be set, read once from the environment into a frozen object. Every default is safe on one laptop with
// nothing else installed. Besides these, Hugging Face's own HF_ENDPOINT and HF_TOKEN
// are read where checkpoints are fetched.

import { CronExpressionParser } from 'cron-parser';
import { z } from 'zod';
import { AttuneError } from './error.ts';
import { PRECISION_NAMES } from './precision-name.ts';

export const OBJECTIVES = ['lsif', 'ukl', 'bce', 'dpo', 'sft'] as const;
/** The matrices of a layer, by the last part of their names. */
export const LORA_TARGETS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;

const whole = (least: number) => z.coerce.number().int().min(least);
const share = z.coerce.number().min(0).max(1);

const environment = z.object({
  HOST: z.string().default('127.0.0.1').describe('address to listen on; any other than the loopback needs API_KEY'),
  PORT: whole(0).max(65535).default(8787).describe('port of the API; 0 takes a free one'),
  API_KEY: z
    .string()
    .transform((keys) => keys.split(',').map((key) => key.trim()))
    .pipe(z.array(z.string().regex(/^[\w.~+/-]{8,}=*$/, 'give 8 or more of letters, digits and . _ ~ + / -')))
    .refine((keys) => new Set(keys).size === keys.length, 'it lists a key twice; give every tenant one of its own')
    .optional()
    .describe('bearer key that every /v1 request must carry; several, separated by commas, are served in turn'),
  ATTUNE_HOME: z.string().default('.attune').describe('folder for the embedded Postgres and the policies'),
  DATABASE_URL: z
    .string()
    .refine((url) => URL.canParse(url), 'give a URL: postgres://user:password@host:5432/database')
    .optional()
    .describe('Postgres to use instead of the embedded one'),
  POLICY_STORE: z
    .string()
    .regex(/^s3:\/\/[^/]+(\/[^/]+)*\/?$/, 'give s3://bucket or s3://bucket/prefix')
    .optional()
    .describe('where all edges and trainers find the policies; the folder policies in ATTUNE_HOME unless told'),
  AWS_ENDPOINT_URL: z
    .string()
    .refine(isHttp, 'give a URL: https://account.r2.cloudflarestorage.com')
    .optional()
    .describe('S3-compatible server of POLICY_STORE; Amazon’s unless told'),
  AWS_REGION: z.string().default('auto').describe('region that requests to POLICY_STORE are signed for'),
  AWS_ACCESS_KEY_ID: z.string().optional().describe('key of POLICY_STORE'),
  AWS_SECRET_ACCESS_KEY: z.string().optional().describe('secret of that key'),
  AWS_SESSION_TOKEN: z.string().optional().describe('token of a key that was lent for a time'),
  MAX_BODY_BYTES: whole(1024).default(1_048_576).describe('largest request body; imports stream and are not limited'),
  SERVE_THREADS: whole(1)
    .optional()
    .describe('threads inside one operator of the serving policy; all cores unless told'),
  MAX_ROWS: whole(1).default(16).describe('generations decoded together in one batch'),
  MAX_QUEUE: whole(1).default(256).describe('generations that may wait; one more is answered 429'),
  PRECISION: z
    .enum(PRECISION_NAMES)
    .default('row8')
    .describe('how a new policy is served; a better one is taken where this harms it'),
  KV_MEMORY: whole(1_048_576)
    .default(2 ** 30)
    .describe('bytes of keys and values that a serving policy may hold'),
  REQUEST_TIMEOUT: z.coerce
    .number()
    .positive()
    .max(86_400)
    .default(600)
    .describe('seconds that a generation may take, its wait in the queue included'),
  WORKER_POLICY_BYTES: whole(0)
    .default(8 * 2 ** 20)
    .describe('largest float32 serving graph with its weights that a Worker computes itself; others go elsewhere'),
  INFERENCE_URL: z
    .string()
    .refine(isHttp, 'give a URL: https://edge.example.com')
    .optional()
    .describe('another Attune on the same Postgres, asked in place of the container for what a Worker cannot compute'),
  CONTAINERS: whole(1)
    .default(1)
    .describe('containers that a Worker spreads over what it cannot compute; max_instances of wrangler.toml at most'),
  WEBHOOK_URL: z
    .string()
    .refine(isHttp, 'give a URL: https://example.com/hooks/attune')
    .optional()
    .describe('told of policies that became active and of rounds that ended'),
  WEBHOOK_SECRET: z
    .string()
    .regex(/^whsec_[A-Za-z0-9+/]{32,}=*$/, 'give whsec_ and at least 24 random bytes in base64')
    .optional()
    .describe('signs what WEBHOOK_URL is told, as Standard Webhooks has it'),
  TRAIN_SCHEDULE: z
    .string()
    .regex(
      /^([\d*,/-]+|[A-Za-z,-]+)( +([\d*,/-]+|[A-Za-z,-]+)){4}$/,
      'give a cron of five fields: minute hour day month weekday',
    )
    .refine(isCron, 'give a cron whose five fields are in range: minute 0-59, hour 0-23, day 1-31, month, weekday')
    .default('*/15 * * * *')
    .describe('cron (UTC) at which a round is considered'),
  TRAIN_MIN_PAIRS: whole(1).default(64).describe('new pairs that make a scheduled round worth running'),
  TRAIN_MAX_PAIRS: whole(1).default(4096).describe('most pairs in one round, newest first, replay included'),
  TRAIN_REPLAY: share.default(0.5).describe('share of pairs of earlier rounds added to the new ones'),
  TRAIN_HELD_OUT: share.default(0.2).describe('share of prompts whose pairs are only evaluated on'),
  TRAIN_THREADS: whole(1).default(2).describe('ONNX Runtime threads of the trainer'),
  TRAIN_MEMORY: whole(2 ** 26)
    .optional()
    .describe('bytes that training may take; half of what is free unless told'),
  ENGINE: z
    .enum(['auto', 'tensorflow', 'onnx'])
    .default('auto')
    .describe('what computes gradients; auto takes TensorFlow where it is installed and sees a GPU'),
  TRAIN_PROVIDER: z
    .enum(['cpu', 'webgpu', 'cuda'])
    .default('cpu')
    .describe('what the onnx engine runs on; cuda needs onnxruntime-node installed with it'),
  EFFORT: z.coerce
    .number()
    .min(0.1)
    .max(100)
    .default(1)
    .describe('one dial: how many pairs, epochs, evaluations and samples a round takes, where they are not set'),
  OBJECTIVE: z
    .string()
    .refine(isObjective, `give one of ${OBJECTIVES.join(', ')}, or the path of a .ts or .js file with a convex h`)
    .default('lsif')
    .describe('loss of the DIL family, or the path of a module with a convex h'),
  REDUCTION: z.enum(['mean', 'sum']).default('mean').describe('how token log-ratios make one of a response'),
  NEGATIVES: z.enum(['rejected', 'both']).default('rejected').describe('whose responses stand for the reference'),
  BETA: z.coerce.number().positive().default(0.1).describe('β of dpo'),
  WEIGHTING: z
    .enum(['none', 'importance'])
    .default('none')
    .describe('importance weighs negatives by how much likelier the reference makes them than their sampler did'),
  WEIGHT_CAP: z.coerce.number().min(1).default(2).describe('largest importance weight; they average 1, so 1 is none'),
  MAX_STALENESS: whole(0).optional().describe('policies between the sampler of a pair and the active one at most'),
  LEARNING_RATE: z.coerce.number().positive().max(1).default(2e-5).describe('peak of the schedule'),
  LR_SCHEDULE: z.enum(['cosine', 'constant']).default('cosine').describe('how the learning rate goes on after warm-up'),
  WARM_UP: share.default(0.1).describe('share of the steps in which the learning rate rises'),
  WEIGHT_DECAY: z.coerce.number().min(0).max(1).default(0).describe('decoupled weight decay of matrices'),
  MAX_GRAD_NORM: z.coerce.number().positive().default(1).describe('gradients with a larger norm are scaled down to it'),
  BATCH_PAIRS: whole(1).max(1024).default(8).describe('pairs per optimizer step'),
  EPOCHS: whole(1).max(100).optional().describe('passes over the pairs of a round; by EFFORT unless told'),
  EARLY_STOPPING: whole(0)
    .default(3)
    .describe('evaluations on held-out pairs without improvement that end training; 0 never does'),
  MAX_LENGTH: whole(2).optional().describe('tokens of a prompt and its response; the context unless told'),
  MAX_PROMPT_LENGTH: whole(1).optional().describe('tokens of a prompt; its beginning is cut off'),
  LORA_RANK: whole(0).default(0).describe('rank of low-rank adapters that are trained instead of all weights; 0: all'),
  LORA_ALPHA: z.coerce
    .number()
    .positive()
    .optional()
    .describe('scale of the adapters times their rank; twice the rank'),
  LORA_TARGETS: z
    .string()
    .transform((names) => names.split(',').map((name) => name.trim()))
    .pipe(z.array(z.enum(LORA_TARGETS)).min(1))
    .default([...LORA_TARGETS])
    .describe('matrices that get an adapter, separated by commas'),
  GATE_KL: z.coerce
    .number()
    .positive()
    .default(50)
    .describe('nats of KL to the reference per response that a published policy may have'),
  GATE_CHOSEN_DROP: z.coerce
    .number()
    .min(0)
    .default(0.3)
    .describe('nats per token that the chosen responses may lose in a round'),
  GATE_LENGTH: z.coerce.number().min(1).default(1.5).describe('factor by which responses may become longer or shorter'),
  GATE_REPETITION: share.default(0.1).describe('growth of the share of repeated runs of four tokens'),
  SEED: whole(0).default(0).describe('seed of the order in which pairs are seen'),
});

export type Settings = Readonly<z.infer<typeof environment>>;

function isHttp(url: string): boolean {
  return /^https?:$/.test(URL.parse(url)?.protocol ?? '');
}

function isObjective(name: string): boolean {
  return (OBJECTIVES as readonly string[]).includes(name) || /\.[cm]?[jt]s$/.test(name);
}

/** As the trainer's schedule will read it: pg-boss has the same parser. */
function isCron(cron: string): boolean {
  try {
    CronExpressionParser.parse(cron);
    return true;
  } catch {
    return false;
  }
}

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '::1']);

/** Reads and checks the settings. Throws AttuneError that names the variable. */
export function readSettings(env: Record<string, string | undefined>): Settings {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''));
  const parsed = environment.safeParse(given);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new AttuneError(`settings: ${String(issue.path[0])}: ${issue.message}`, { code: 'invalid_settings' });
  }
  const settings = parsed.data;
  if (!LOOPBACK.has(settings.HOST) && !settings.API_KEY)
    throw new AttuneError(
      `settings: HOST is ${settings.HOST}, which others can reach; set API_KEY (8 characters or more), or leave HOST unset`,
      { code: 'invalid_settings' },
    );
  if (settings.WEBHOOK_URL && !settings.WEBHOOK_SECRET)
    throw new AttuneError(
      'settings: WEBHOOK_SECRET is missing; WEBHOOK_URL needs it to know that it is told by Attune: give whsec_ and 24 or more random bytes in base64',
      { code: 'invalid_settings' },
    );
  return Object.freeze(settings);
}

/** Each setting's name, default and meaning, for --help and the docs. */
export function describeSettings(): { name: string; default: string; meaning: string }[] {
  const defaults: Record<string, unknown> = environment.parse({});
  return Object.entries(environment.shape).map(([name, schema]) => ({
    name,
    default: String(defaults[name] ?? ''),
    meaning: schema.description ?? '',
  }));
}
