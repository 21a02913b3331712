// The second step: two responses to one prompt, of which one is better. Which policy wrote which is hidden until the vote.

import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, api, ask, type Comparison } from '../../api.ts';
import { follow } from '../../path.ts';
import { streamComparison } from '../../stream-comparison.ts';
import { ErrorLine } from '../parts/states.tsx';
import { drawOffset, makePrompt, RULE, voteAsExample } from './example-rater.ts';
import { Step } from './step.tsx';

const CHOICES = [
  ['a', 'A is better'],
  ['tie', 'They are equal'],
  ['b', 'B is better'],
] as const;

/** Of which about three in four are for a side: enough for the gate to tell something. */
const EXAMPLES = 300;

export function FirstVote({ isDone, mayVote }: { isDone: boolean; mayVote: boolean }) {
  const [texts, setTexts] = useState<{ a: string; b: string } | null>(null);
  const [comparison, setComparison] = useState<Comparison | null>(null);
  const [choice, setChoice] = useState<string | null>(null);
  const [votes, setVotes] = useState<number | null>(null);
  const [error, setError] = useState<string | null>(null);
  const abort = useRef(new AbortController());
  const [at, setAt] = useState(drawOffset);
  const prompt = makePrompt(at);
  useEffect(() => () => abort.current.abort(), []);
  const { signal } = abort.current;

  const attempt = async (work: () => Promise<void>) => {
    setError(null);
    await work().catch((thrown) => {
      if (!signal.aborted) setError(thrown instanceof ApiError ? thrown.message : String(thrown));
    });
  };
  const write = () =>
    attempt(async () => {
      setComparison(null);
      setChoice(null);
      setTexts({ a: '', b: '' });
      setAt(at + 1);
      const written = await streamComparison({ prompt: makePrompt(at + 1), max_tokens: 64 }, setTexts, signal);
      setTexts({ a: written.a.text, b: written.b.text });
      setComparison(written);
    });
  const vote = (chosen: 'a' | 'b' | 'tie') =>
    attempt(async () => {
      await ask(
        api.POST('/v1/preferences', { body: { comparison: comparison!.id, choice: chosen, rater: 'welcome' } }),
      );
      setChoice(chosen);
    });
  const voteExamples = () =>
    attempt(async () => {
      setVotes(0);
      await voteAsExample(EXAMPLES, () => setVotes((before) => (before ?? 0) + 1), signal).finally(() =>
        setVotes(null),
      );
    });

  return (
    <Step
      number={2}
      title="Give a first vote"
      text={
        <>
          Say which of two responses is better. For people who do that often, there is{' '}
          <a href="/rate">the rating page</a>.
        </>
      }
      isDone={isDone || choice !== null}
    >
      {!texts && (
        <button type="button" class={isDone ? '' : 'primary'} disabled={!mayVote} onClick={write}>
          Write two responses
        </button>
      )}
      {!mayVote && <p class="quiet">It needs a key with the scopes generate and feedback.</p>}
      {texts && (
        <>
          <p>{prompt}</p>
          <div class="sides" aria-live="polite" aria-busy={!comparison}>
            {(['a', 'b'] as const).map((side) => (
              <section key={side} class={choice === side ? 'side chosen' : 'side'} aria-label={side.toUpperCase()}>
                <h3>{side.toUpperCase()}</h3>
                <p>{texts[side].trim() || '…'}</p>
              </section>
            ))}
          </div>
          <div class="actions">
            {choice === null ? (
              CHOICES.map(([value, name]) => (
                <button key={value} type="button" disabled={!comparison} onClick={() => vote(value)}>
                  {name}
                </button>
              ))
            ) : (
              <>
                <button type="button" onClick={write}>
                  Another one
                </button>
                <span class="quiet">Stored. A policy learns from it in the next round.</span>
              </>
            )}
          </div>
        </>
      )}
      {error && <ErrorLine>{error}</ErrorLine>}
      <details>
        <summary>Nobody else to vote yet?</summary>
        <p class="quiet">
          Let five example raters vote {EXAMPLES} times, which takes about a minute. They prefer {RULE}; their votes are
          marked with their names, in{' '}
          <a href="/console/preferences" onClick={follow}>
            Preferences
          </a>
          .
        </p>
        {votes === null ? (
          <button type="button" disabled={!mayVote} onClick={voteExamples}>
            Let them vote
          </button>
        ) : (
          <div class="round-progress">
            <div>
              <span>Voting</span>
              <span class="quiet number">
                {votes} of {EXAMPLES}
              </span>
            </div>
            <progress value={votes} max={EXAMPLES} aria-label="Votes of the example raters" />
          </div>
        )}
      </details>
    </Step>
  );
}
