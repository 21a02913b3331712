// Background work of a Worker: the cron that runs every minute, and the queue's consumer for metrics, canaries and webhooks.
// Nothing that the API acknowledges depends on it; webhooks are rows in Postgres, so a lost message only delays them.

import type { Message, MessageBatch, Queue } from '@cloudflare/workers-types';
import { CronExpressionParser } from 'cron-parser';
import pMap from 'p-map';
import { z } from 'zod';
import { decideCanaries } from '../../shared/canary/decide.ts';
import type { Database } from '../../shared/database/connect.ts';
import { applyRetention } from '../../shared/erasure/retention.ts';
import { summarizeError } from '../../shared/error-description.ts';
import { log } from '../../shared/log.ts';
import { requestRoundIfDue } from '../../shared/rounds/schedule.ts';
import type { Settings } from '../../shared/settings.ts';
import { checkAlerts } from '../../shared/webhooks/alerts.ts';
import {
  claimEvent,
  deliverEvent,
  listDueEvents,
  readWebhookTarget,
  type WebhookTarget,
} from '../../shared/webhooks/delivery.ts';
import { SUMS } from '../canary/policy-minutes.ts';
import { addMinuteBatches, addRequestCounts, deleteOldBatches } from './metrics-store.ts';

const natural = z.number().int().min(0);
const sums = Object.fromEntries(SUMS.map((name) => [name, z.number()])) as Record<(typeof SUMS)[number], z.ZodNumber>;
/** A queue may carry dates as texts. */
const policyMinute = z.object({ policy_id: z.string(), minute: z.coerce.date(), ...sums });
const messageSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('webhook'), id: z.string() }),
  /** a vote was stored: it may decide about a canary */
  z.object({ kind: z.literal('vote') }),
  /** `id`: of the batch, as below */
  z.object({ kind: z.literal('policy_minutes'), id: z.string(), rows: z.array(policyMinute) }),
  z.object({
    kind: z.literal('metrics'),
    /** Identifies the batch, so that a second delivery is not counted again. */
    id: z.string(),
    counts: z.array(
      z.object({
        method: z.string(),
        route: z.string(),
        status: natural,
        bucket: natural,
        count: natural,
        seconds: z.number(),
      }),
    ),
  }),
]);

/** A message of the queue. */
export type BackgroundMessage = z.output<typeof messageSchema>;
type WebhookMessage = Extract<BackgroundMessage, { kind: 'webhook' }>;
type MetricsMessage = Extract<BackgroundMessage, { kind: 'metrics' }>;
type MinutesMessage = Extract<BackgroundMessage, { kind: 'policy_minutes' }>;
type Received<T extends BackgroundMessage> = { message: Message<unknown>; body: T };

/** The maximum number of messages that sendBatch accepts. */
const MAX_BATCH = 100;
const MAX_RETRY_DELAY_S = 43_200;
const RETRY_DELAY_S = 30;
/** A Worker has six connections at once, including those to Postgres. */
const MAX_CONCURRENT_WEBHOOKS = 2;

/** One cron event, expected every minute. In the minutes of TRAIN_SCHEDULE a round is requested if one is due, and RETENTION_DAYS applied. */
export async function runScheduled(
  db: Database,
  settings: Settings,
  queue: Pick<Queue<BackgroundMessage>, 'sendBatch'>,
  now: Date,
): Promise<void> {
  const isTick = isScheduledMinute(settings.TRAIN_SCHEDULE, now);
  const announced = [checkAlerts(db, settings), decideCanaries(db, settings)];
  const tasks = [
    isTick ? requestRoundIfDue(db, settings) : null,
    isTick ? applyRetention(db, settings) : null,
    deleteOldBatches(db),
    ...announced,
    // What they write is sent at once.
    Promise.allSettled(announced).then(() => enqueueDueWebhooks(db, settings, queue)),
  ];
  // A failing task does not stop the others; the cron's log gets every reason.
  const failed = (await Promise.allSettled(tasks)).filter((task) => task.status === 'rejected');
  const reasons = failed.map(({ reason }) => reason as Error);
  if (failed.length > 0) throw new Error(reasons.map(summarizeError).join('; '));
}

/** Whether a cron expression (UTC) includes this minute. */
export function isScheduledMinute(cron: string, now: Date): boolean {
  const minute = new Date(Math.floor(now.getTime() / 60_000) * 60_000);
  return CronExpressionParser.parse(cron, { tz: 'UTC' }).includesDate(minute);
}

/**
 * Enqueues the webhooks that are due, if there is a WEBHOOK_URL. One that is queued twice is still sent once: its row is
 * claimed in Postgres.
 */
export async function enqueueDueWebhooks(
  db: Database,
  settings: Settings,
  queue: Pick<Queue<BackgroundMessage>, 'sendBatch'>,
): Promise<void> {
  if (!settings.WEBHOOK_URL) return;
  const ids = await listDueEvents(db, MAX_BATCH);
  if (ids.length > 0) await queue.sendBatch(ids.map((id) => ({ body: { kind: 'webhook', id } })));
}

/** Handles a batch of the queue and acknowledges or retries each message separately. */
export async function consumeBatch(
  batch: MessageBatch<unknown>,
  db: Database,
  settings: Settings,
  queue: Pick<Queue<BackgroundMessage>, 'sendBatch'>,
): Promise<void> {
  const webhooks: Received<WebhookMessage>[] = [];
  const metrics: Received<MetricsMessage>[] = [];
  const minutes: Received<MinutesMessage>[] = [];
  const votes: Received<BackgroundMessage>[] = [];
  for (const message of batch.messages) {
    const { data: body } = messageSchema.safeParse(message.body);
    if (body?.kind === 'webhook') webhooks.push({ message, body });
    else if (body?.kind === 'metrics') metrics.push({ message, body });
    else if (body?.kind === 'policy_minutes') minutes.push({ message, body });
    else if (body?.kind === 'vote') votes.push({ message, body });
    else {
      log.error('background', `message ${message.id} has an unknown shape; dropped`);
      message.ack();
    }
  }
  await handleAll(metrics, (bodies) => addRequestCounts(db, bodies));
  await handleAll(minutes, (bodies) => addMinuteBatches(db, bodies));
  // However many votes: it reads all of them.
  await handleAll(votes, async () => {
    if ((await decideCanaries(db, settings)).length > 0) await enqueueDueWebhooks(db, settings, queue);
  });
  await sendWebhooks(db, settings, webhooks);
}

/** Messages that are handled together. */
async function handleAll<T extends BackgroundMessage>(
  received: Received<T>[],
  handle: (bodies: T[]) => Promise<unknown>,
): Promise<void> {
  if (received.length === 0) return;
  try {
    await handle(received.map(({ body }) => body));
    for (const { message } of received) message.ack();
  } catch (error) {
    retryAll(received, error);
  }
}

async function sendWebhooks(db: Database, settings: Settings, received: Received<WebhookMessage>[]): Promise<void> {
  if (received.length === 0) return;
  const target = readWebhookTarget(settings);
  await pMap(received, (one) => sendWebhook(db, target, one).catch((error) => retryAll([one], error)), {
    concurrency: MAX_CONCURRENT_WEBHOOKS,
  });
}

async function sendWebhook(
  db: Database,
  target: WebhookTarget | null,
  { message, body }: Received<WebhookMessage>,
): Promise<void> {
  const event = target && (await claimEvent(db, body.id));
  const delayS = event ? await deliverEvent(db, target, event) : null;
  if (delayS === null) message.ack();
  // One second more: a message that arrives before its event is due again is dropped.
  else message.retry({ delaySeconds: Math.min(delayS + 1, MAX_RETRY_DELAY_S) });
}

function retryAll(received: Received<BackgroundMessage>[], error: unknown): void {
  log.error('background', `${received.length} messages failed, retrying in ${RETRY_DELAY_S} s`, error);
  for (const { message } of received) message.retry({ delaySeconds: RETRY_DELAY_S });
}
