// The first step: a prompt, and the response as it is written.

import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from '../../api.ts';
import { streamPost } from '../../event-stream.ts';
import { Command } from '../parts/command.tsx';
import { PolicyLink } from '../parts/policy-link.tsx';
import { ErrorLine } from '../parts/states.tsx';
import { Step } from './step.tsx';

type Chunk = { model: string; choices: { text: string }[] };
type Shown = { prompt: string; text: string; model: string | null; isWritten: boolean };

const MAX_TOKENS = 80;

export function FirstCompletion({ isDone, mayGenerate }: { isDone: boolean; mayGenerate: boolean }) {
  const [prompt, setPrompt] = useState('Once upon a time, a fox found a red balloon');
  const [shown, setShown] = useState<Shown | null>(null);
  const [error, setError] = useState<string | null>(null);
  const abort = useRef(new AbortController());
  useEffect(() => () => abort.current.abort(), []);

  const send = async (event: Event) => {
    event.preventDefault();
    const { signal } = abort.current;
    setError(null);
    setShown({ prompt, text: '', model: null, isWritten: false });
    try {
      const body = { prompt, max_tokens: MAX_TOKENS };
      for await (const { model, choices } of streamPost<Chunk>('/v1/completions', body, signal))
        setShown((before) => before && { ...before, model, text: before.text + (choices[0]?.text ?? '') });
    } catch (thrown) {
      if (!signal.aborted) setError(thrown instanceof ApiError ? thrown.message : String(thrown));
    }
    setShown((before) => before && { ...before, isWritten: true });
  };
  const isWriting = shown !== null && !shown.isWritten;
  const curl = `curl ${location.origin}/v1/completions -H 'content-type: application/json' \\\n  -d '${JSON.stringify({ prompt, max_tokens: MAX_TOKENS }).replaceAll("'", "'\\''")}'`;
  return (
    <Step
      number={1}
      title="Get a first completion"
      text="The active policy continues a text. OpenAI’s clients work, too: chat, streams and JSON are one base URL away."
      isDone={isDone || (shown?.isWritten === true && error === null)}
    >
      <form class="prompt-form" onSubmit={send}>
        <input
          aria-label="Prompt"
          required
          value={prompt}
          onInput={({ currentTarget: { value } }) => setPrompt(value)}
        />
        <button type="submit" class="primary" disabled={isWriting || !mayGenerate}>
          {isWriting ? 'Writing …' : 'Complete'}
        </button>
      </form>
      {!mayGenerate && <p class="quiet">It needs a key with the scope generate.</p>}
      {error && <ErrorLine>{error}</ErrorLine>}
      {shown && !error && (
        <div class="written" aria-live="polite" aria-busy={isWriting}>
          <p>
            <span class="quiet">{shown.prompt}</span>
            {shown.text}
          </p>
          {shown.isWritten && shown.model && (
            <p class="quiet small">
              by <PolicyLink id={shown.model} />
            </p>
          )}
        </div>
      )}
      <details>
        <summary>The same by cURL</summary>
        <Command text={curl} />
      </details>
    </Step>
  );
}
