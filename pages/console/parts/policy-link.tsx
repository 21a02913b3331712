// A policy by its name. Policies of one line share theirs, so the end of the id is beside it. Names never change: each is asked
// for once.

import { useEffect, useState } from 'preact/hooks';
import { api, ask, type Policy } from '../../api.ts';
import { follow } from '../../path.ts';
import { shortenId } from './links.tsx';

const names = new Map<string, string>();
let reading: Promise<void> | null = null;

/** For one of the newest hundred: "smollm2 98d00b"; another has its id. Ids that are not asked for here are as they are. */
export function usePolicyNames(...ids: string[]): (id: string) => string {
  const [, setRead] = useState(0);
  const unknown = ids.filter((id) => !names.has(id)).join(' ');
  useEffect(() => {
    if (unknown === '') return;
    let isGone = false;
    reading ??= readNames().finally(() => {
      reading = null;
    });
    reading.then(
      () => isGone || setRead((count) => count + 1),
      () => {},
    );
    return () => {
      isGone = true;
    };
  }, [unknown]);
  return (id) => {
    const name = names.get(id);
    return name === undefined ? shortenId(id) : `${name} ${id.slice(-6)}`;
  };
}

async function readNames(): Promise<void> {
  const { data } = await ask(api.GET('/v1/policies', { params: { query: { limit: 100 } } }));
  for (const { id, name } of data) names.set(id, name);
}

/** In lists to choose from. */
export function namePolicy({ name, id, active }: Pick<Policy, 'name' | 'id' | 'active'>): string {
  return `${name} ${id.slice(-6)}${active ? ', active' : ''}`;
}

export function PolicyLink({ id }: { id: string }) {
  const name = usePolicyNames(id)(id);
  return (
    <a class={names.has(id) ? undefined : 'id'} href={`/console/policies/${id}`} title={id} onClick={follow}>
      {name}
    </a>
  );
}
