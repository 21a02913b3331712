// What somebody sees who has started Attune: what it is, three steps that check themselves, and the loop.

import { useEffect, useRef } from 'preact/hooks';
import { api, ask, type Loop, type Session } from '../../api.ts';
import { follow } from '../../path.ts';
import { Failure, Loading } from '../parts/states.tsx';
import { hasEnded } from '../rounds/stages.ts';
import { mayUse } from '../session.ts';
import { useAsk } from '../use-ask.ts';
import { useLoop } from '../use-loop.ts';
import { FirstCompletion } from './first-completion.tsx';
import { FirstRound } from './first-round.tsx';
import { FirstVote } from './first-vote.tsx';
import { LoopDrawing } from './loop-drawing.tsx';

export function WelcomePage({ session }: { session: Session }) {
  const { loop, error } = useLoop();
  const rounds = useAsk(() => ask(api.GET('/v1/rounds', { params: { query: { limit: 10 } } })), 'rounds');
  // A round ends, or the canary that it made is decided.
  const going = `${loop?.round?.id} ${loop?.canary?.id} ${loop?.active?.policy}`;
  const before = useRef(going);
  useEffect(() => {
    if (before.current !== going) rounds.reload();
    before.current = going;
  }, [going]);

  if (!loop) return error ? <Failure title="The loop cannot be read" error={error} /> : <Loading />;
  const trained = rounds.data?.data.filter((round) => !round.dry_run && hasEnded(round)) ?? [];
  const last = trained[0] ?? null;
  const done = [loop.completions > 0, loop.votes.total > 0, trained.some(({ status }) => status === 'succeeded')];
  return (
    <div class="view welcome">
      <header>
        <h1>
          Attune serves a small language model, collects votes on its responses, and trains on them while it serves.
        </h1>
        <p class="quiet">{describe(loop, done)}</p>
      </header>
      <ol class="steps">
        <FirstCompletion isDone={done[0]!} mayGenerate={mayUse(session, ['generate'])} />
        <FirstVote isDone={done[1]!} mayVote={mayUse(session, ['generate']) && mayUse(session, ['feedback'])} />
        <FirstRound loop={loop} last={last} isDone={done[2]!} mayTrain={mayUse(session, ['train'])} />
      </ol>
      <section>
        <h2>The loop</h2>
        <LoopDrawing loop={loop} last={last} />
      </section>
      <p class="onward">
        <a class="button" href="/console" onClick={follow}>
          Open the console
        </a>
        <a class="button" href="/rate">
          Rate
        </a>
        <a class="button" href="/docs">
          API
        </a>
      </p>
    </div>
  );
}

function describe({ active }: Loop, done: boolean[]): string {
  const left = done.filter((one) => !one).length;
  const serving = active ? `${active.name} is serving at ${location.origin}.` : 'No policy is active yet.';
  if (left === 0) return `${serving} The loop is running.`;
  return `${serving} ${left === 1 ? 'One step' : `${left === 3 ? 'Three' : 'Two'} steps`} to a loop that runs.`;
}
