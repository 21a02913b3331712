// Whether a failure speaks against the policy that was to be loaded or to compute: where Postgres, the policy store or this
// process is away or full, every policy fails alike, and the guards of a canary must not count it.

import { isUnreachable, toPostgresAnswer } from '../../shared/postgres-errors.ts';

/** Codes of our own errors, and the system's. */
const ELSEWHERE: ReadonlySet<unknown> = new Set([
  'policy_store_unreachable',
  'policy_store_refused',
  'runtime_unavailable',
  'closing',
  // So many requests, or policies, that these had to wait: a rush hour.
  'queue_timeout',
  'policies_busy',
  'disk_full',
  'ENOSPC',
]);

export function isPolicyAtFault(error: unknown): boolean {
  if (isUnreachable(error)) return false;
  const code = toPostgresAnswer(error)?.code ?? (error as { code?: unknown } | null)?.code;
  return !ELSEWHERE.has(code) && !String(code).startsWith('postgres_');
}
