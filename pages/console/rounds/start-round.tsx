// Starts a round, with a dry run first: what it would do with the pairs that there are now, how long it would take, and
// what the gate would need.

import { useEffect, useRef, useState } from 'preact/hooks';
import { type ApiError, api, ask, type Round } from '../../api.ts';
import { go } from '../../path.ts';
import { Modal } from '../parts/modal.tsx';
import { ErrorLine } from '../parts/states.tsx';
import { hasEnded } from './stages.ts';

const POLL_MS = 1000;
const OBJECTIVES = ['bce', 'lsif', 'ukl', 'dpo', 'sft'] as const;

type Objective = (typeof OBJECTIVES)[number];
type Body = { from_root?: true; method?: { type: 'dil'; dil: { objective: Objective } } };

export function StartRound({ onClose, onStarted }: { onClose(): void; onStarted?: (round: Round) => void }) {
  const [objective, setObjective] = useState<Objective | ''>('');
  const [fromRoot, setFromRoot] = useState(false);
  const [preview, setPreview] = useState<Round | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const [isBusy, setBusy] = useState(false);
  const isGone = useRef(false);
  useEffect(() => {
    isGone.current = false;
    return () => {
      isGone.current = true;
    };
  }, []);

  const body: Body = {
    ...(fromRoot && { from_root: true }),
    ...(objective && { method: { type: 'dil', dil: { objective } } }),
  };
  const change = (set: () => void) => {
    set();
    setPreview(null);
  };
  const attempt = async (work: () => Promise<void>) => {
    setBusy(true);
    setError(null);
    await work().catch((thrown) => setError(thrown as ApiError));
    setBusy(false);
  };
  const runDry = () =>
    attempt(async () => {
      let round = await ask(api.POST('/v1/rounds', { body: { ...body, dry_run: true } }));
      setPreview(round);
      while (!hasEnded(round) && !isGone.current) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
        round = await ask(api.GET('/v1/rounds/{id}', { params: { path: { id: round.id } } }));
        setPreview(round);
      }
    });
  const start = (close: () => void) =>
    attempt(async () => {
      const round = await ask(api.POST('/v1/rounds', { body }));
      // Whoever has closed it since is elsewhere, and stays there.
      if (isGone.current) return;
      close();
      if (onStarted) onStarted(round);
      else go(`/console/rounds/${round.id}`);
    });
  const isPreviewed = preview !== null && hasEnded(preview);

  return (
    <Modal title="Start a round" isWide onClose={onClose}>
      {(close) => (
        <>
          <div class="content">
            <p>
              A round trains a new policy on the pairs that the active one has not learned. It replaces the active
              policy only if the gate finds it better.
            </p>
            <div class="fields">
              <label>
                Objective
                <select
                  value={objective}
                  disabled={isBusy}
                  onChange={({ currentTarget: { value } }) => change(() => setObjective(value as Objective | ''))}
                >
                  <option value="">as configured</option>
                  {OBJECTIVES.map((name) => (
                    <option key={name}>{name}</option>
                  ))}
                </select>
              </label>
              <label class="check">
                <input
                  type="checkbox"
                  checked={fromRoot}
                  disabled={isBusy}
                  onChange={({ currentTarget: { checked } }) => change(() => setFromRoot(checked))}
                />
                From the root, on everything that its line has learned
              </label>
            </div>
            <div class="preview" aria-live="polite">
              {!preview && <p class="quiet">The dry run says what the round would do. It trains nothing.</p>}
              {preview && !isPreviewed && (
                <p class="quiet">
                  {preview.status === 'queued' ? 'Waiting for a trainer …' : 'A trainer is measuring …'} It takes a
                  minute or less.
                </p>
              )}
              {isPreviewed && !preview.preview && <p class="error">{preview.reason ?? 'The dry run has no result.'}</p>}
              {preview?.preview && (
                <dl class="lines">
                  {preview.preview.map(({ name, text }) => (
                    <div key={name}>
                      <dt>{name}</dt>
                      <dd>{text}</dd>
                    </div>
                  ))}
                </dl>
              )}
            </div>
          </div>
          {error && <ErrorLine>{error.message}</ErrorLine>}
          <div class="actions end">
            <button type="button" onClick={close}>
              Close
            </button>
            <button type="button" class={isPreviewed ? '' : 'primary'} disabled={isBusy} onClick={runDry}>
              {isBusy && !isPreviewed ? 'One moment …' : isPreviewed ? 'Dry run again' : 'Dry run'}
            </button>
            <button
              type="button"
              class={isPreviewed ? 'primary' : ''}
              disabled={isBusy || !isPreviewed}
              onClick={() => start(close)}
            >
              Start the round
            </button>
          </div>
        </>
      )}
    </Modal>
  );
}
