// Whose a row is. A tenant is a team or a customer of one deployment: its keys read and change its own rows only. All tenants
// share one line of policies, so separate products run separate deployments.

/** Of rows that no tenant's key has stored: those of API_KEY's administrators, of commands, and of a server without keys. */
export const DEFAULT_TENANT = 'default';

/** Stored by a command, by a server without keys, or before rows had this column: nobody else could have. */
export const OPERATOR_ORIGINS: ReadonlySet<string> = new Set(['command', 'anonymous', 'unknown']);

/** `created_by`: the id of a key or a rater, `anonymous`, or `command`. */
export type Owner = { tenant: string; created_by: string };
