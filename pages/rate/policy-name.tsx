// A policy by the name that it has, for whoever may read names; for others, by the end of its id.

import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import { api, ask, type Reservation, type Session } from '../api.ts';

type Names = ReadonlyMap<string, string>;

const MAX_POLICIES = 100;
/** Of responses that came with an item, and that no policy wrote. */
const GIVEN = 'given';

const Context = createContext<Names>(new Map());
export const PolicyNamesProvider = Context.Provider;

export function usePolicyNames(session: Session | null): Names {
  const [names, setNames] = useState<Names>(new Map());
  const mayRead = session?.scopes.some((scope) => scope === 'read' || scope === 'admin') ?? false;
  useEffect(() => {
    if (!mayRead) return;
    ask(api.GET('/v1/policies', { params: { query: { limit: MAX_POLICIES } } })).then(
      ({ data }) => setNames(new Map(data.map(({ id, name }) => [id, name]))),
      // Ids do as well.
      () => {},
    );
  }, [mayRead]);
  return names;
}

export function PolicyName({ id }: { id: string }) {
  const names = useContext(Context);
  const name = names.get(id);
  const isShared = [...names.values()].filter((other) => other === name).length > 1;
  const end = `…${id.slice(-6)}`;
  return <span title={id}>{name === undefined ? end : isShared ? `${name} ${end}` : name}</span>;
}

/** The policies that wrote the sides of a reservation, which the API says after the vote. */
export function listPolicies({ policies }: Reservation): ['A' | 'B', string][] {
  const sides: ['A' | 'B', string | undefined][] = [
    ['A', policies?.a],
    ['B', policies?.b],
  ];
  return sides.filter((side): side is ['A' | 'B', string] => Boolean(side[1]) && side[1] !== GIVEN);
}
