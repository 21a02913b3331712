// Starts a round, with a dry run first: what it would do with the pairs that there are now, how long it would take, and
// what the gate would need.

import { useEffect, useRef, useState } from 'preact/hooks';
import { type ApiError, api, ask, type Round } from '../../api.ts';
import { go } from '../../path.ts';
import { Check, ChooseField } from '../parts/field.tsx';
import { Modal } from '../parts/modal.tsx';
import { ErrorLine } from '../parts/states.tsx';
import { OutlookLines, useOutlook } from './outlook.tsx';
import { PreviewLines } from './preview-lines.tsx';
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
  const outlook = useOutlook();
  const configured = outlook?.find('OBJECTIVE');
  const submit = (event: Event, close: () => void) => {
    event.preventDefault();
    return isPreviewed ? start(close) : runDry();
  };

  return (
    <Modal title="Start a round" isWide onClose={onClose}>
      {(close) => (
        <form onSubmit={(event) => submit(event, close)}>
          <div class="content form">
            <OutlookLines outlook={outlook} />
            <fieldset class="group" disabled={isBusy}>
              <ChooseField
                label="Objective"
                value={objective}
                options={[
                  ['', configured ? `As configured (${configured})` : 'As configured'],
                  ...OBJECTIVES.map((name) => [name, name] as const),
                ]}
                onChange={(chosen) => change(() => setObjective(chosen))}
              />
              <Check
                label="From the root, on everything that its line has learned"
                isChecked={fromRoot}
                onChange={(isChecked) => change(() => setFromRoot(isChecked))}
              />
            </fieldset>
            <div class="preview" aria-live="polite">
              {!preview && <p class="quiet">The dry run says what the round would do. It trains nothing.</p>}
              {preview && !isPreviewed && (
                <p class="quiet">
                  {preview.status === 'queued' ? 'Waiting for a trainer …' : 'A trainer is measuring …'} It takes a
                  minute or less.
                </p>
              )}
              {isPreviewed && !preview.preview && <p class="error">{preview.reason ?? 'The dry run has no result.'}</p>}
              {preview?.preview && <PreviewLines lines={preview.preview} />}
            </div>
            {error && <ErrorLine>{error.message}</ErrorLine>}
          </div>
          <div class="actions end">
            {!isPreviewed && (
              <p class="quiet why" id="why-not">
                {isBusy ? 'You can start it after the dry run.' : 'Run the dry run first.'}
              </p>
            )}
            <button type="button" onClick={close}>
              Close
            </button>
            <button
              type={isPreviewed ? 'button' : 'submit'}
              class={isPreviewed ? '' : 'primary'}
              disabled={isBusy}
              onClick={isPreviewed ? runDry : undefined}
            >
              {isBusy && !isPreviewed ? 'One moment …' : isPreviewed ? 'Dry run again' : 'Dry run'}
            </button>
            <button
              type={isPreviewed ? 'submit' : 'button'}
              class={isPreviewed ? 'primary' : ''}
              disabled={isBusy || !isPreviewed}
              aria-describedby={isPreviewed ? undefined : 'why-not'}
            >
              Start the round
            </button>
          </div>
        </form>
      )}
    </Modal>
  );
}
