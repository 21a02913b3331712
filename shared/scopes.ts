// What a key may do. `admin` may do everything.

export const SCOPES = ['generate', 'rate', 'feedback', 'read', 'train', 'operate', 'admin'] as const;

export type Scope = (typeof SCOPES)[number];

export const SCOPE_DESCRIPTIONS: Record<Scope, string> = {
  generate: 'generate and score responses, create comparisons, list models',
  rate: 'create and list comparisons, and vote on comparisons, generations and the items of queues',
  feedback: 'vote for end users, store given pairs, and import files of them',
  read: 'read what is stored: generations, preferences, rounds, policies, raters',
  train: 'request rounds, and cancel any',
  operate: 'promote policies and roll back, create and invite raters, and run queues',
  admin: 'everything, including keys, erasures and the audit log',
};

/** Whether one of the needed scopes was granted. */
export function hasScope(granted: readonly Scope[], needed: readonly Scope[]): boolean {
  return granted.includes('admin') || needed.some((scope) => granted.includes(scope));
}
