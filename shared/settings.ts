// The settings, read once from environment variables into a frozen object. The defaults run on one laptop with nothing
// else installed. Checkpoints are downloaded with Hugging Face's own HF_ENDPOINT and HF_TOKEN, which are not listed here.

import { CronExpressionParser } from 'cron-parser';
import { z } from 'zod';
import { AttuneError } from './error.ts';
import {
  getPreset,
  type Hyperparameters,
  hyperparametersSchema,
  PRESET_NAMES,
  unwrapSchema,
} from './hyperparameters.ts';
import { LOG_LEVELS } from './log.ts';
import { PRECISION_NAMES } from './precision-name.ts';

const integer = (min: number) => z.coerce.number().int().min(min);
const fraction = z.coerce.number().min(0).max(1);
const share = z.coerce.number().positive().max(1);
const url = (example: string) =>
  z.string().refine((text) => /^https?:$/.test(URL.parse(text)?.protocol ?? ''), `give a URL: ${example}`);

const PUBLIC_ENDPOINTS = ['docs', 'metrics'] as const;
export type PublicEndpoint = (typeof PUBLIC_ENDPOINTS)[number];

/** Scheme, host and port, as browsers send it. */
function isOrigin(text: string): boolean {
  return URL.parse(text)?.origin === text;
}

const environment = z.object({
  HOST: z.string().default('127.0.0.1').describe('address to listen on; any other than loopback requires API_KEY'),
  PORT: integer(0).max(65535).default(8787).describe('port of the API; 0: any free port'),
  API_KEY: z
    .string()
    .transform((keys) => keys.split(',').map((key) => key.trim()))
    .pipe(z.array(z.string().regex(/^[\w.~+/-]{8,}=*$/, 'give 8 or more of letters, digits and . _ ~ + / -')))
    .refine((keys) => new Set(keys).size === keys.length, 'a key is listed twice; give each tenant its own')
    .optional()
    .describe(
      'key of an administrator, which makes keys necessary for all of /v1; several, separated by commas, are scheduled fairly',
    ),
  CORS_ORIGINS: z
    .string()
    .transform((origins) => origins.split(',').map((origin) => origin.trim()))
    .pipe(z.array(z.string().refine(isOrigin, 'give origins like https://app.example.com, separated by commas')))
    .optional()
    .describe('web pages that may call the API from a browser, by origin, separated by commas; default: none'),
  PUBLIC_ENDPOINTS: z
    .string()
    .default('docs,metrics')
    .transform((names) => (names === 'none' ? [] : names.split(',').map((name) => name.trim())))
    .pipe(z.array(z.enum(PUBLIC_ENDPOINTS, 'give docs, metrics or both, separated by a comma, or none')))
    .describe('what needs no key where API_KEY is set: docs (with /openapi.json), metrics, or none; others need read'),
  ATTUNE_HOME: z.string().default('.attune').describe('folder of the embedded Postgres and the policies'),
  DATABASE_URL: z
    .string()
    .refine((text) => URL.canParse(text), 'give a URL: postgres://user:password@host:5432/database')
    .optional()
    .describe('Postgres to use; default: an embedded one in ATTUNE_HOME'),
  POLICY_STORE: z
    .string()
    .regex(/^s3:\/\/[^/]+(\/[^/]+)*\/?$/, 'give s3://bucket or s3://bucket/prefix')
    .optional()
    .describe('policy store that all edges and trainers share; default: the folder policies in ATTUNE_HOME'),
  AWS_ENDPOINT_URL: url('https://account.r2.cloudflarestorage.com')
    .optional()
    .describe('S3-compatible server of POLICY_STORE; default: Amazon S3'),
  AWS_REGION: z.string().default('auto').describe('region that requests to POLICY_STORE are signed for'),
  AWS_ACCESS_KEY_ID: z.string().optional().describe('access key of POLICY_STORE'),
  AWS_SECRET_ACCESS_KEY: z.string().optional().describe('secret of AWS_ACCESS_KEY_ID'),
  AWS_SESSION_TOKEN: z.string().optional().describe('session token of temporary credentials'),
  MAX_BODY_BYTES: integer(1024)
    .default(1_048_576)
    .describe('largest request body, and largest row of an import; an import itself is streamed and has no limit'),
  REDACT: z
    .string()
    .regex(/^pii$|\.[cm]?[jt]s$/, 'give pii, or the path of a .ts or .js file: ./my-redact.ts')
    .optional()
    .describe(
      'what is redacted before anything is stored: pii, or the path of a module that exports (text) => text; default: nothing',
    ),
  IDEMPOTENCY_HOURS: z.coerce
    .number()
    .positive()
    .max(8760)
    .default(24)
    .describe('hours after which an Idempotency-Key is forgotten, and may be used again'),
  IMPLICIT_PAIRS: z
    .enum(['on', 'off'], 'give on or off')
    .default('off')
    .describe('on: a regenerated response is stored as preferred to the one that it takes the place of'),
  COMPARE_SHARE: fraction
    .default(0)
    .describe('share of the chat completions that come back as two choices to be compared; compare: false opts out'),
  RETENTION_DAYS: z.coerce
    .number()
    .positive()
    .max(36_500)
    .optional()
    .describe('days after which completions and comparisons that nobody voted on are deleted; default: never'),
  MAX_CONNECTIONS: integer(1)
    .default(1024)
    .describe('connections that the server keeps open; one more takes the place of one that waits for a request'),
  REQUESTS_PER_MINUTE: integer(1)
    .optional()
    .describe('requests that each API key may send to each server per minute; default: no limit'),
  TOKENS_PER_MINUTE: integer(1)
    .optional()
    .describe(
      'tokens, of prompts and responses, that each API key may use on each server per minute; default: no limit',
    ),
  WRONG_KEYS_PER_MINUTE: integer(1)
    .default(20)
    .describe('wrong API keys that one address may send to each server per minute; keys in use stay accepted'),
  SERVE_THREADS: integer(1).optional().describe('intra-op threads of the serving session; default: all cores'),
  MAX_ROWS: integer(1).default(16).describe('generations decoded together in one batch'),
  MAX_QUEUE: integer(1).default(256).describe('generations that may wait in the queue; more are rejected with 429'),
  PRECISION: z
    .enum(PRECISION_NAMES)
    .default('row8')
    .describe('precision of a new serving graph; a more accurate one is used if this one changes its outputs too much'),
  KV_MEMORY: integer(1_048_576)
    .default(2 ** 30)
    .describe('bytes of the KV cache of a serving policy'),
  REQUEST_TIMEOUT: z.coerce
    .number()
    .positive()
    .max(86_400)
    .default(600)
    .describe('seconds until a generation times out, including its time in the queue'),
  WORKER_POLICY_BYTES: integer(0)
    .default(8 * 2 ** 20)
    .describe(
      'largest float32 serving graph that a Worker runs itself; larger ones run in a container or INFERENCE_URL',
    ),
  INFERENCE_URL: url('https://edge.example.com')
    .optional()
    .describe(
      'another Attune on the same Postgres that runs the policies too large for a Worker; default: a container',
    ),
  CONTAINERS: integer(1)
    .default(1)
    .describe('containers that a Worker spreads its requests over; at most max_instances in wrangler.toml'),
  WEBHOOK_URL: url('https://example.com/hooks/attune')
    .optional()
    .describe(
      'receives an event when a policy becomes active or is rolled back, a round ends, or somebody should look',
    ),
  WEBHOOK_SECRET: z
    .string()
    .regex(/^whsec_[A-Za-z0-9+/]{32,}=*$/, 'give whsec_ and at least 24 random bytes in base64')
    .optional()
    .describe('signs the requests to WEBHOOK_URL (Standard Webhooks)'),
  ALERT_NO_PAIRS_DAYS: z.coerce
    .number()
    .positive()
    .max(365)
    .default(7)
    .describe('days without a new pair after which WEBHOOK_URL receives pairs.none_new'),
  ALERT_TRAINER_MINUTES: z.coerce
    .number()
    .positive()
    .max(525_600)
    .default(30)
    .describe(
      'minutes without a trainer, while a round waits for one, after which WEBHOOK_URL receives trainer.missing',
    ),
  CANARY: z
    .enum(['auto', 'on', 'off'], 'give auto, on or off')
    .default('auto')
    .describe(
      'whether a round’s policy is a canary before it is active; auto: if people gave CANARY_MIN_VOTES votes in the last day that a canary would count',
    ),
  CANARY_SHARE: z.coerce
    .number()
    .positive()
    .max(0.5)
    .default(0.1)
    .describe('share of the completions that a canary gets, by user or conversation'),
  CANARY_MIN_VOTES: integer(1)
    .default(20)
    .describe('votes of the last day, as a canary counts them, from which on CANARY=auto uses one'),
  CANARY_MAX_HOURS: z.coerce
    .number()
    .positive()
    .max(8760)
    .default(72)
    .describe('hours after which an undecided canary ends, and the active policy stays'),
  CANARY_MAX_VOTES: integer(1)
    .max(100_000)
    .default(1500)
    .describe('votes for a side after which an undecided canary ends, and the active policy stays'),
  CANARY_RATER_VOTES: integer(1).default(6).describe('votes of one rater that count for or against a canary'),
  WATCH_HOURS: z.coerce
    .number()
    .min(0)
    .max(8760)
    .default(24)
    .describe('hours in which a new active policy is rolled back if it is worse than the one before; 0: never'),
  LOG_FORMAT: z
    .enum(['json', 'text'])
    .optional()
    .describe(
      'how API and trainer write their log; default: text on a terminal, otherwise a JSON line for each request',
    ),
  LOG_LEVEL: z.enum(LOG_LEVELS).default('info').describe('what is logged: info, warn, error or silent'),
  OTEL_EXPORTER_OTLP_ENDPOINT: url('http://127.0.0.1:4318')
    .optional()
    .describe('OpenTelemetry collector that receives traces (OTLP over HTTP, JSON); default: no traces'),
  TRAIN_SCHEDULE: z
    .string()
    .regex(
      /^([\d*,/-]+|[A-Za-z,-]+)( +([\d*,/-]+|[A-Za-z,-]+)){4}$/,
      'give a cron of five fields: minute hour day month weekday',
    )
    .refine(isCron, 'give a cron whose five fields are in range: minute 0-59, hour 0-23, day 1-31, month, weekday')
    .default('*/15 * * * *')
    .describe('cron (UTC) at which a round is queued if enough new pairs exist'),
  TRAIN_MIN_PAIRS: integer(1)
    .default(64)
    .describe('new pairs that a scheduled round needs, and pairs that a reward needs'),
  TRAIN_RETRY_SHARE: fraction
    .default(0.5)
    .describe('new pairs that the schedule waits for after a refused or rolled-back round, as a fraction of its own'),
  TRAIN_MAX_PAIRS: integer(1)
    .default(4096)
    .describe('maximum number of pairs of a round, keys and raters in turns, replay included'),
  TRAIN_REPLAY: fraction
    .default(0.5)
    .describe('pairs of earlier rounds to replay, drawn from all of them, as a fraction of the new ones'),
  TRAIN_HELD_OUT: fraction.default(0.2).describe('fraction of prompts whose pairs are held out for evaluation'),
  TRAIN_RATER_SHARE: share
    .default(0.25)
    .describe(
      'largest share of the training pairs of a round from one rater, once enough raters gave them (4); 1: any',
    ),
  TRAIN_SOURCE_SHARE: share
    .default(0.5)
    .describe(
      'largest share of the training pairs of a round that one key gave as texts, once four raters vote; 1: any',
    ),
  TRAIN_THREADS: integer(1).default(2).describe('ONNX Runtime threads of the trainer'),
  TRAIN_MEMORY: integer(2 ** 26)
    .optional()
    .describe('bytes that training may use; default: half of free memory'),
  ENGINE: z
    .enum(['auto', 'tensorflow', 'onnx'])
    .default('auto')
    .describe('training engine; auto: TensorFlow if it is installed and finds a GPU, otherwise onnx'),
  TRAIN_PROVIDER: z
    .enum(['cpu', 'webgpu'])
    .default('cpu')
    .describe('execution provider of the onnx engine; webgpu: any GPU with a Vulkan, Metal or Direct3D 12 driver'),
  ...trainingVariables(),
});

export type Settings = Readonly<z.infer<typeof environment>>;

type Shape = typeof hyperparametersSchema.shape;

/** The hyperparameters, each under its name in capitals and parsed from text. */
function trainingVariables(): { [Name in keyof Shape as Uppercase<Name>]: Shape[Name] } {
  const variables = Object.entries(hyperparametersSchema.shape).map(([name, schema]) => [
    name.toUpperCase(),
    z
      .preprocess((text) => (typeof text === 'string' ? parseVariable(text, schema) : text), schema)
      .describe(schema.description!),
  ]);
  return Object.fromEntries(variables);
}

function presetVariables(preset: string | undefined): Partial<Record<Uppercase<keyof Hyperparameters>, unknown>> {
  const name = PRESET_NAMES.find((name) => name === preset);
  const values = name ? Object.entries(getPreset(name)) : [];
  return Object.fromEntries(values.map(([key, value]) => [key.toUpperCase(), value]));
}

function parseVariable(text: string, schema: z.ZodType): unknown {
  const value = unwrapSchema(schema);
  if (value instanceof z.ZodNumber) return Number(text);
  return value instanceof z.ZodArray ? text.split(',').map((item) => item.trim()) : text;
}

/** Uses the same parser as pg-boss, which runs the schedule. */
function isCron(cron: string): boolean {
  try {
    CronExpressionParser.parse(cron);
    return true;
  } catch {
    return false;
  }
}

/** Whence the value of a setting is. */
export const SETTING_SOURCES = ['environment', 'preset', 'default'] as const;
type SettingSource = (typeof SETTING_SOURCES)[number];

/** Of each object that readSettings has returned: the settings that are not at their default. */
const sources = new WeakMap<Settings, ReadonlyMap<string, SettingSource>>();

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '::1']);

/** Reads and validates the settings. Throws an AttuneError that names the variable. */
export function readSettings(env: Record<string, string | undefined>): Settings {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''));
  const preset = presetVariables(given.PRESET);
  const parsed = environment.safeParse({ ...preset, ...given });
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new AttuneError(`settings: ${String(issue.path[0])}: ${issue.message}`, { code: 'invalid_settings' });
  }
  const settings = parsed.data;
  if (!LOOPBACK.has(settings.HOST) && !settings.API_KEY)
    throw new AttuneError(
      `settings: HOST is ${settings.HOST}, which other machines can reach; set API_KEY (8 characters or more), or leave HOST unset`,
      { code: 'invalid_settings' },
    );
  if (settings.WEBHOOK_URL && !settings.WEBHOOK_SECRET)
    throw new AttuneError(
      'settings: WEBHOOK_SECRET is missing, but WEBHOOK_URL is set; give whsec_ and at least 24 random bytes in base64',
      { code: 'invalid_settings' },
    );
  const from = (names: object, source: SettingSource) => Object.keys(names).map((name) => [name, source] as const);
  sources.set(settings, new Map([...from(preset, 'preset'), ...from(given, 'environment')]));
  return Object.freeze(settings);
}

/** What nobody but the process may see, the user and password of a database's URL among it. */
const SECRETS: ReadonlySet<string> = new Set([
  'API_KEY',
  'DATABASE_URL',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'WEBHOOK_SECRET',
] satisfies (keyof Settings)[]);

export type SettingInForce = {
  name: string;
  /** null: not set, or a secret */
  value: string | null;
  default: string | null;
  source: SettingSource;
  secret: boolean;
  description: string;
};

/** Every setting as it is in force. `settings`: as readSettings returned them, because a copy does not know its sources. */
export function listSettings(settings: Settings): SettingInForce[] {
  const whence = sources.get(settings);
  if (!whence) throw new Error('internal: these settings are a copy of those that readSettings returned');
  const defaults: Record<string, unknown> = environment.parse({});
  const values: Record<string, unknown> = settings;
  return Object.entries(environment.shape).map(([name, schema]) => {
    const secret = SECRETS.has(name);
    return {
      name,
      value: secret ? null : formatSetting(values[name]),
      default: formatSetting(defaults[name]),
      source: whence.get(name) ?? 'default',
      secret,
      description: schema.description ?? '',
    };
  });
}

/** Of a URL its origin: the rest may hold a password or a token. */
function formatSetting(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  const text = String(value);
  const url = typeof value === 'string' && /^https?:/.test(value) ? URL.parse(value) : null;
  if (!url) return text;
  return url.pathname === '/' && url.search === '' ? url.origin : `${url.origin}/…`;
}

/** The name, default and description of each setting, for --help. */
export function describeSettings(): { name: string; default: string; description: string }[] {
  const defaults: Record<string, unknown> = environment.parse({});
  return Object.entries(environment.shape).map(([name, schema]) => ({
    name,
    default: String(defaults[name] ?? ''),
    description: schema.description ?? '',
  }));
}
