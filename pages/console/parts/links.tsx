// Links to what an id names, and times as people say them.

import { follow } from '../../path.ts';
import { formatAgo, formatTime } from '../format.ts';
import { useClock } from './clock.ts';

type Kind = 'policies' | 'rounds' | 'canaries' | 'preferences' | 'queues';

/** `children`: default: the id, shortened. */
export function IdLink({ kind, id, children }: { kind: Kind; id: string; children?: string }) {
  return (
    <a class={children ? undefined : 'id'} href={`/console/${kind}/${id}`} title={id} onClick={follow}>
      {children ?? shortenId(id)}
    </a>
  );
}

/** `pol_…a1b2c3`: ids begin with their time, so that neighbours differ at the end. A sentence that begins with one stays. */
export function shortenId(id: string): string {
  const [prefix, rest] = id.split('_');
  return rest && rest.length > 8 && !rest.includes(' ') ? `${prefix}_…${rest.slice(-6)}` : id;
}

/** `at`: Unix seconds */
export function Time({ at }: { at: number }) {
  useClock();
  return (
    <time dateTime={new Date(at * 1000).toISOString()} title={formatTime(at)}>
      {formatAgo(at)}
    </time>
  );
}
