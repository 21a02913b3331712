// What becomes of a round's policy if the gate finds it better: docs/canary.md, "When a policy becomes a canary".

import { api, ask, type Loop } from '../../api.ts';
import { IdLink } from '../parts/links.tsx';
import { mayUse } from '../session.ts';
import { useAsk } from '../use-ask.ts';

/** `find`: a setting of the server; null: not known to this session. */
type Outlook = { loop: Loop; find(name: string): string | null };

/** null: not known yet, or not at all */
export function useOutlook(): Outlook | null {
  return useAsk(readOutlook, '').data;
}

async function readOutlook(): Promise<Outlook> {
  const [loop, session] = await Promise.all([ask(api.GET('/v1/loop')), ask(api.GET('/v1/session'))]);
  const settings = mayUse(session, ['operate']) ? (await ask(api.GET('/v1/settings'))).data : [];
  return { loop, find: (name) => settings.find((setting) => setting.name === name)?.value ?? null };
}

/** What a round is, and what it leads to. */
export function OutlookLines({ outlook }: { outlook: Outlook | null }) {
  const canary = outlook?.loop.canary;
  const what = 'A round trains a new policy on the pairs that the active one has not learned.';
  if (!canary)
    return (
      <p>
        {what} {describeRelease(outlook)}
      </p>
    );
  return (
    <>
      <p>{what}</p>
      <p class="warning">
        A{' '}
        <IdLink kind="canaries" id={canary.id}>
          canary
        </IdLink>{' '}
        is running, so the schedule waits. If this round ends before the canary is decided, its policy is only
        published: it becomes neither active nor a canary by itself.
      </p>
    </>
  );
}

function describeRelease(outlook: Outlook | null): string {
  const isTried = outlook && isTriedFirst(outlook);
  if (isTried)
    return 'If the gate finds it better, it is tried as a canary, and votes decide whether it becomes active.';
  if (isTried === false) return 'It replaces the active policy only if the gate finds it better.';
  return 'If the gate finds it better, it replaces the active policy, or is tried as a canary first.';
}

/** null: not known. Of the votes of a day CANARY=auto counts those of several people that a canary would have had. */
function isTriedFirst({ loop, find }: Outlook): boolean | null {
  const mode = find('CANARY');
  if (mode !== 'auto') return mode === null ? null : mode === 'on';
  return loop.votes.last_day < Number(find('CANARY_MIN_VOTES')) ? false : null;
}
