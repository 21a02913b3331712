// A sentence of the API, in which ids are links, and policies have their names.

import { IdLink } from './links.tsx';
import { PolicyLink } from './policy-link.tsx';

const ID = /\b((?:pol|round|canary|pref)_[0-9a-f]{32})\b/;
const KINDS: Record<string, 'rounds' | 'canaries' | 'preferences'> = {
  round: 'rounds',
  canary: 'canaries',
  pref: 'preferences',
};

export function Prose({ text }: { text: string }) {
  // At odd places are the ids.
  return <>{text.split(ID).map((part, at) => (at % 2 === 0 ? part : <Named key={at} id={part} />))}</>;
}

function Named({ id }: { id: string }) {
  const kind = KINDS[id.split('_')[0]!];
  return kind ? <IdLink kind={kind} id={id} /> : <PolicyLink id={id} />;
}
