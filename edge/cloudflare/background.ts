// What may be late in a Worker: the cron's minute, and the queue's messages, statistics and webhooks. Nothing that the
// API acknowledges passes here; Postgres remembers every webhook, so a queue that loses one only delays it.

import type { Message, MessageBatch, Queue } from '@cloudflare/workers-types';
import { CronExpressionParser } from 'cron-parser';
import { z } from 'zod';
import type { Database } from '../../shared/database/connect.ts';
import { requestRoundIfDue } from '../../shared/rounds/schedule.ts';
import type { Settings } from '../../shared/settings.ts';
import {
  claimEvent,
  deliverEvent,
  listDueEvents,
  readWebhookTarget,
  type WebhookTarget,
} from '../../shared/webhooks/delivery.ts';
import { addRequestCounts, deleteOldBatches } from './metrics-store.ts';

const place = z.number().int().min(0);
const messageSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('webhook'), id: z.string() }),
  z.object({
    kind: z.literal('answers'),
    /** its own, so that a second delivery is known */
    id: z.string(),
    answers: z.array(
      z.object({
        method: z.string(),
        route: z.string(),
        status: place,
        bucket: place,
        count: place,
        seconds: z.number(),
      }),
    ),
  }),
]);

/** A message of the queue. */
export type BackgroundMessage = z.output<typeof messageSchema>;
type WebhookMessage = Extract<BackgroundMessage, { kind: 'webhook' }>;
type MetricsMessage = Extract<BackgroundMessage, { kind: 'answers' }>;
type Received<L extends BackgroundMessage> = { message: Message<unknown>; body: L };

/** What a queue takes at once. */
const MAX_BATCH = 100;
const MAX_RETRY_DELAY_S = 43_200;
/** Seconds until a message is tried again that Postgres could not take. */
const RETRY_DELAY_S = 30;
/** Webhooks sent side by side: a Worker has six connections at once, and those to Postgres are among them. */
const MAX_CONCURRENT_WEBHOOKS = 2;

/** One tick of the cron, which is to come every minute: TRAIN_SCHEDULE says in which of them a round is considered. */
export async function runScheduled(
  db: Database,
  settings: Settings,
  queue: Pick<Queue<BackgroundMessage>, 'sendBatch'>,
  now: Date,
): Promise<void> {
  const parts = [
    isScheduledMinute(settings.TRAIN_SCHEDULE, now) ? requestRoundIfDue(db, settings) : null,
    readWebhookTarget(settings) ? enqueueDueWebhooks(db, queue) : null,
    deleteOldBatches(db),
  ];
  // One that fails keeps none of the others; the cron's log has every reason.
  const failed = (await Promise.allSettled(parts)).filter((part) => part.status === 'rejected');
  const reasons = failed.map(({ reason }) => reason as Error);
  if (failed.length > 0) throw new AggregateError(reasons, reasons.map(({ message }) => message).join('; '));
}

/** Whether a cron (UTC) names this minute. */
export function isScheduledMinute(cron: string, now: Date): boolean {
  const minute = new Date(Math.floor(now.getTime() / 60_000) * 60_000);
  return CronExpressionParser.parse(cron, { tz: 'UTC' }).includesDate(minute);
}

/** Puts the webhooks that are due on the queue. One that is there already is taken once: Postgres says by whom. */
export async function enqueueDueWebhooks(
  db: Database,
  queue: Pick<Queue<BackgroundMessage>, 'sendBatch'>,
): Promise<void> {
  const ids = await listDueEvents(db, MAX_BATCH);
  if (ids.length > 0) await queue.sendBatch(ids.map((id) => ({ body: { kind: 'webhook', id } })));
}

/** A batch of the queue. Each message is acknowledged or retried by itself. */
export async function consumeBatch(batch: MessageBatch<unknown>, db: Database, settings: Settings): Promise<void> {
  const webhooks: Received<WebhookMessage>[] = [];
  const answers: Received<MetricsMessage>[] = [];
  for (const message of batch.messages) {
    const { data: body } = messageSchema.safeParse(message.body);
    if (body?.kind === 'webhook') webhooks.push({ message, body });
    else if (body?.kind === 'answers') answers.push({ message, body });
    else {
      console.error(`late: message ${message.id} is of no kind that this version knows; it is dropped`);
      message.ack();
    }
  }
  await storeMetrics(db, answers);
  await sendWebhooks(db, settings, webhooks);
}

async function storeMetrics(db: Database, known: Received<MetricsMessage>[]): Promise<void> {
  if (known.length === 0) return;
  try {
    await addRequestCounts(
      db,
      known.map(({ body }) => body),
    );
    for (const { message } of known) message.ack();
  } catch (error) {
    retryAll(known, error);
  }
}

async function sendWebhooks(db: Database, settings: Settings, known: Received<WebhookMessage>[]): Promise<void> {
  if (known.length === 0) return;
  const target = readWebhookTarget(settings);
  const left = known.values();
  const lane = async () => {
    for (const one of left) await sendWebhook(db, target, one).catch((error) => retryAll([one], error));
  };
  await Promise.all(Array.from({ length: MAX_CONCURRENT_WEBHOOKS }, lane));
}

async function sendWebhook(
  db: Database,
  target: WebhookTarget | null,
  { message, body }: Received<WebhookMessage>,
): Promise<void> {
  const event = target && (await claimEvent(db, body.id));
  const pause = event ? await deliverEvent(db, target, event) : null;
  if (pause === null) message.ack();
  // A second more: a message that came before its event is due again would be dropped.
  else message.retry({ delaySeconds: Math.min(pause + 1, MAX_RETRY_DELAY_S) });
}

function retryAll(known: Received<BackgroundMessage>[], error: unknown): void {
  console.error(`late: ${known.length} messages are tried again in ${RETRY_DELAY_S} s: ${(error as Error).message}`);
  for (const { message } of known) message.retry({ delaySeconds: RETRY_DELAY_S });
}
