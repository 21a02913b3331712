// Which policy wrote a response, and on which side the rater saw it: of a comparison, which says so once it is voted on, or of
// two stored chats.

import { api, ask, type Preference } from '../../api.ts';
import { PolicyLink } from '../parts/policy-link.tsx';
import { useAsk } from '../use-ask.ts';

type WriterOf = { side: 'A' | 'B' | null; policy: string };
type Writers = Map<string, WriterOf>;

/** By the id of a generation; null: nobody knows. */
export function useWriters(preference: Preference): (generation: string | null) => WriterOf | null {
  const { data } = useAsk(() => readWriters(preference), preference.id);
  return (generation) => (generation && data?.get(generation)) || null;
}

async function readWriters({ comparison, chosen, rejected, edit_of: editOf }: Preference): Promise<Writers> {
  if (editOf !== null) return new Map();
  if (comparison === null)
    return new Map(await Promise.all([readChat(chosen), readChat(rejected)]).then((all) => all.flat()));
  const { a, b } = await ask(api.GET('/v1/comparisons/{id}', { params: { path: { id: comparison } } }));
  const sides = [
    ['A', a],
    ['B', b],
  ] as const;
  return new Map(
    sides.flatMap(([side, { generation, model }]) =>
      generation && model ? [[generation, { side, policy: model }] as const] : [],
    ),
  );
}

/** Of a chat with several choices the first one has its id. */
async function readChat({ generation }: Preference['chosen']): Promise<[string, WriterOf][]> {
  if (!generation?.startsWith('chatcmpl-')) return [];
  const path = { params: { path: { id: generation } } };
  const chat = await ask(api.GET('/v1/chat/completions/{id}', path)).catch(() => null);
  return chat ? [[generation, { side: null, policy: chat.model }]] : [];
}

/** `isNamed`: the side is not in the heading. */
export function Writer({ writer, isNamed }: { writer: WriterOf | null; isNamed: boolean }) {
  if (!writer) return null;
  const { side, policy } = writer;
  return (
    <p class="quiet writer">
      {isNamed && side ? `Response ${side}, ` : ''}
      {policy.startsWith('pol_') ? (
        <>
          by <PolicyLink id={policy} />
        </>
      ) : (
        'given with the item'
      )}
    </p>
  );
}
