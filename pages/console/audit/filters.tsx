// What the audit log is filtered by: what was done, to what, by whom, and when.

import type { paths } from '../../api-types.ts';
import { Choose, Search } from '../parts/field.tsx';
import type { Filters } from '../use-filters.ts';

type Query = NonNullable<paths['/v1/audit']['get']['parameters']['query']>;

export const AUDIT_FILTERS = ['action', 'actor', 'target', 'since', 'until'] as const;

/** By the beginnings of their names. */
const ACTIONS: [NonNullable<Query['action']>, string][] = [
  ['key.', 'Keys'],
  ['policy.', 'Policies'],
  ['canary.', 'Canaries'],
  ['round.', 'Rounds'],
  ['rater.', 'Raters'],
  ['invitation.', 'Invitations'],
  ['session.', 'Sessions'],
  ['queue.', 'Queues'],
  ['erasure.', 'Erasures'],
  ['webhook.', 'Webhooks'],
];

/** Actors without an id. */
const PROGRAMS: [string, string][] = [
  ['anonymous', 'Anyone without a key'],
  ['command', 'A command'],
  ['trainer', 'The trainer'],
  ['canary', 'A canary’s votes and guards'],
];

type Props = {
  filters: Filters<(typeof AUDIT_FILTERS)[number]>;
  /** keys and raters, with their names */
  people: readonly (readonly [id: string, name: string])[];
};

export function AuditFilters({ filters: { values, set, isSet, clear }, people }: Props) {
  return (
    <div class="filters">
      <Search
        label="Target: the id of what was changed"
        value={values.target}
        onChange={(target) => set({ target }, true)}
      />
      <Choose
        label="Action"
        value={values.action}
        options={[['', 'Any action'], ...ACTIONS]}
        onChange={(action) => set({ action })}
      />
      <Choose
        label="By"
        value={values.actor}
        options={[['', 'By anyone'], ...PROGRAMS, ...people]}
        onChange={(actor) => set({ actor })}
      />
      <Day label="From" value={values.since} onChange={(since) => set({ since })} />
      <Day label="Before" value={values.until} onChange={(until) => set({ until })} />
      {isSet && (
        <button type="button" class="plain" onClick={clear}>
          Clear
        </button>
      )}
    </div>
  );
}

type DayProps = { label: string; value: string; onChange(value: string): void };

function Day({ label, value, onChange }: DayProps) {
  return (
    <label class="quiet">
      {label} <input type="date" value={value} onChange={(event) => onChange(event.currentTarget.value)} />
    </label>
  );
}
