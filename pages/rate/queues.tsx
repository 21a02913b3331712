// The queues that are open to whoever is signed in: a choice if there are several, and the only one at once.

import { useEffect, useState } from 'preact/hooks';
import { type ApiError, api, ask, type Queue } from '../api.ts';
import { follow } from '../path.ts';
import { useTexts } from '../texts/texts.ts';
import { Message } from './message.tsx';
import type { Outbox } from './outbox.ts';
import { ARENA, RATE } from './path.ts';
import { QueueView } from './queue-view.tsx';

const MAX_QUEUES = 100;

type Props = { path: string; holder: string; outbox: Outbox };

export function Queues({ path, holder, outbox }: Props) {
  const texts = useTexts();
  const [queues, setQueues] = useState<Queue[] | null>(null);
  const [error, setError] = useState<ApiError | null>(null);
  const load = () => {
    setError(null);
    const query = { limit: MAX_QUEUES };
    ask(api.GET('/v1/queues', { params: { query } })).then(
      // Whoever may read all of them sees closed ones too.
      ({ data }) => setQueues(data.filter(({ status }) => status === 'open')),
      setError,
    );
  };
  useEffect(load, []);

  if (error)
    return (
      <Message
        title={error.status === 0 ? texts.noConnection : texts.failed}
        text={error.status === 0 ? undefined : error.message}
      >
        <button type="button" class="primary" onClick={load}>
          {texts.retry}
        </button>
      </Message>
    );
  if (!queues) return <Message title={texts.loading} isLoading />;
  const wanted = path.slice(RATE.length + 1);
  const chosen = wanted ? queues.find(({ id }) => id === wanted) : queues.length === 1 ? queues[0] : undefined;
  if (chosen)
    return <QueueView key={chosen.id} queue={chosen} holder={holder} outbox={outbox} isOnly={queues.length === 1} />;
  if (wanted)
    return (
      <Message title={texts.noSuchQueue} text={texts.noSuchQueueText}>
        <a class="button primary" href={RATE} onClick={follow}>
          {texts.seeQueues}
        </a>
      </Message>
    );
  if (queues.length === 0)
    return (
      <Message title={texts.noQueueTitle} text={texts.noQueueText}>
        <a class="button primary" href={ARENA} onClick={follow}>
          {texts.openArena}
        </a>
      </Message>
    );
  return <Choice queues={queues} />;
}

function Choice({ queues }: { queues: Queue[] }) {
  const texts = useTexts();
  return (
    <main class="choice">
      <h1>{texts.chooseQueue}</h1>
      <ul>
        {queues.map(({ id, name, reviews }) => (
          <li key={id}>
            <a href={`${RATE}/${id}`} onClick={follow}>
              <strong dir="auto">{name}</strong>
              {reviews && (
                <>
                  <span class="quiet">
                    {texts.queueDone(reviews.done.toLocaleString(), reviews.needed.toLocaleString())}
                  </span>
                  <progress value={reviews.done} max={Math.max(reviews.needed, 1)} aria-label={texts.progressBar} />
                </>
              )}
            </a>
          </li>
        ))}
      </ul>
    </main>
  );
}
