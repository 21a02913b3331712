// Whether a rater may go on in a queue: whether it is open, and the rater among its raters and not paused. It is asked for the
// next item, and again for everything that the rater does with an earlier one.

import type { Database } from '../database/connect.ts';
import { AttuneError } from '../error.ts';
import type { QueueRow } from './queues.ts';
import { isAllowed, type Standing } from './rater-standing.ts';

export const REFUSALS = ['empty', 'done', 'paused', 'closed', 'deadline', 'not_allowed'] as const;
/** Why there is no item for the rater. */
export type Refusal = { reason: (typeof REFUSALS)[number]; message: string };

/** Whether nothing more is given out: the queue is closed, or its deadline has passed. */
export function findEnd({ settings, status }: QueueRow): Refusal | null {
  if (status === 'closed') return { reason: 'closed', message: 'this queue is closed' };
  if (settings.deadline !== null && Date.parse(settings.deadline) <= Date.now())
    return { reason: 'deadline', message: `the deadline of this queue was ${settings.deadline}` };
  return null;
}

/** Whether the rater is not, or no longer, one of those who may rate. */
export async function findExclusion(
  db: Pick<Database, 'select'>,
  { settings }: QueueRow,
  rater: string,
): Promise<Refusal | null> {
  if (await isAllowed(db, settings, rater)) return null;
  return {
    reason: 'not_allowed',
    message: `${rater} is not among the raters of this queue, nor has one of its skills`,
  };
}

/**
 * Throws if the rater may not go on with a reservation. `isHeld`: it is open and has not expired; such a one is voted on
 * even after the queue has closed, so that nobody's work is lost.
 */
export async function assertAdmitted(
  db: Pick<Database, 'select'>,
  queue: QueueRow,
  { rater, paused_at, paused_reason }: Pick<Standing, 'rater' | 'paused_at' | 'paused_reason'>,
  { isHeld }: { isHeld: boolean },
): Promise<void> {
  const refuse = (status: 403 | 409, code: string, message: string) =>
    new AttuneError(message, { status, param: 'id', code, retry: false });
  const excluded = await findExclusion(db, queue, rater);
  if (excluded) throw refuse(403, 'not_allowed', `${excluded.message}; ask whoever runs the queue to add you`);
  if (paused_at) throw refuse(409, 'rater_paused', `you are paused in this queue: ${paused_reason}`);
  const end = isHeld ? null : findEnd(queue);
  if (end)
    throw refuse(409, 'queue_closed', `${end.message}; what was not reserved then, or was voted on, stays as it is`);
}
