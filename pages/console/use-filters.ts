// What a list is filtered by, as the query of the page's address: it survives a reload, and can be sent to somebody.

import { go, useAddress } from '../path.ts';

export type Filters<Name extends string> = {
  values: Record<Name, string>;
  /** whether any is set */
  isSet: boolean;
  /** changes with what is listed */
  key: string;
  /** `isTyped`: while one types, the address is replaced, so that Back does not go through every letter. */
  set(changes: Partial<Record<Name, string>>, isTyped?: boolean): void;
  clear(): void;
};

/** '' is one that is not set. */
export function useFilters<Name extends string>(...names: Name[]): Filters<Name> {
  const { pathname, searchParams } = useAddress();
  const values = Object.fromEntries(names.map((name) => [name, searchParams.get(name) ?? ''])) as Record<Name, string>;
  const open = (next: Record<Name, string>, isReplaced: boolean) => {
    const query = new URLSearchParams(searchParams);
    for (const name of names) {
      if (next[name] === '') query.delete(name);
      else query.set(name, next[name]);
    }
    go(query.size === 0 ? pathname : `${pathname}?${query}`, isReplaced);
  };
  return {
    values,
    isSet: names.some((name) => values[name] !== ''),
    key: names.map((name) => `${name}=${values[name]}`).join('&'),
    set: (changes, isTyped = false) => open({ ...values, ...changes }, isTyped),
    clear: () => open(Object.fromEntries(names.map((name) => [name, ''])) as Record<Name, string>, false),
  };
}

/** For a query of the API: without those that are not set. */
export function keepSet<Name extends string>(values: Record<Name, string>): Partial<Record<Name, string>> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== '')) as Partial<
    Record<Name, string>
  >;
}
