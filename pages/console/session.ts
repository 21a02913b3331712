// What the session of this page may do.

import type { Session } from '../api.ts';

/** `id`: what the address names, such as a round. */
export type ViewProps = { session: Session; id: string | null };

export function mayUse({ scopes }: Session, needed: readonly string[]): boolean {
  return scopes.some((scope: string) => scope === 'admin' || needed.includes(scope));
}
