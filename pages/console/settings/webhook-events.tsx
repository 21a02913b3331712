// The outbox of webhooks, of which each event can be sent again.

import { useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import type { components } from '../../api-types.ts';
import { Confirm } from '../parts/confirm.tsx';
import { Segments } from '../parts/field.tsx';
import { shortenId, Time } from '../parts/links.tsx';
import { More } from '../parts/more.tsx';
import { Badge, Panel, type Tone } from '../parts/page.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { Table } from '../parts/table.tsx';
import { useAsk } from '../use-ask.ts';
import { useFilters } from '../use-filters.ts';
import { usePages } from '../use-pages.ts';

type WebhookEvent = components['schemas']['WebhookEvent'];
type State = WebhookEvent['state'];

const STATES = [
  ['', 'All'],
  ['pending', 'Pending'],
  ['delivered', 'Delivered'],
  ['given_up', 'Given up'],
] as const;
const TONES: Record<State, Tone> = { pending: 'busy', delivered: 'good', given_up: 'bad' };

export function WebhookEvents() {
  const { values, set, key } = useFilters('state');
  const [chosen, setChosen] = useState<WebhookEvent | null>(null);
  const pages = usePages<WebhookEvent>((after) => {
    const state = values.state === '' ? {} : { state: values.state as State };
    return ask(
      api.GET('/v1/webhook-events', { params: { query: { limit: 50, ...state, ...(after ? { after } : {}) } } }),
    );
  }, key);
  const { rows, error, isLoading, reload } = pages;
  const hasReceiver = useReceiver();
  return (
    <Panel
      title="Webhook events"
      hint="Of the last three days. Each has an id, by which a receiver knows one that it has had."
    >
      {!hasReceiver && (
        <p class="warning" id="no-receiver">
          WEBHOOK_URL is not set, so that nothing is sent. Events wait for three days: start the server with it, and
          those of that time are sent too.
        </p>
      )}
      <div class="filters">
        <Segments
          label="State"
          value={values.state as (typeof STATES)[number][0]}
          options={STATES}
          onChange={(state) => set({ state })}
        />
      </div>
      {error && <Failure title="Not listed" error={error} retry={reload} />}
      {rows.length === 0 && isLoading && <Loading />}
      {rows.length === 0 && !isLoading && !error && (
        <Empty
          title={values.state === '' ? 'No event in the last three days' : 'No event is in this state'}
          text="Events are kept for whoever receives them at WEBHOOK_URL: activations, rounds, canaries and alerts."
          command="WEBHOOK_URL=https://example.com/hooks/attune WEBHOOK_SECRET=whsec_… npx attune start"
        />
      )}
      {rows.length > 0 && (
        <>
          <Table
            caption="Webhook events, newest first"
            rows={rows}
            rowKey={({ id }) => id}
            columns={[
              { title: 'Created', cell: ({ created }) => <Time at={created} /> },
              {
                title: 'Type',
                cell: ({ type, id }) => (
                  <span title={id}>
                    <strong>{type}</strong>
                  </span>
                ),
              },
              {
                title: 'State',
                cell: ({ state }) => <Badge tone={TONES[state]}>{state.replace('_', ' ')}</Badge>,
              },
              { title: 'Attempts', isNumber: true, cell: ({ attempts }) => attempts },
              { title: 'Delivered, or next try', cell: (event) => <Due event={event} hasReceiver={hasReceiver} /> },
              {
                title: 'Last error',
                cell: ({ last_error }) =>
                  last_error ? (
                    <span class="last-error" title={last_error}>
                      {last_error}
                    </span>
                  ) : (
                    <span class="quiet">–</span>
                  ),
              },
              {
                title: 'Data',
                cell: ({ data }) => (
                  <details class="data">
                    <summary>show</summary>
                    <pre>{JSON.stringify(data, null, 2)}</pre>
                  </details>
                ),
              },
              {
                title: 'Change',
                cell: (event) => (
                  <button
                    type="button"
                    class="small"
                    disabled={!hasReceiver}
                    title={hasReceiver ? undefined : 'WEBHOOK_URL is not set'}
                    aria-describedby={hasReceiver ? undefined : 'no-receiver'}
                    onClick={() => setChosen(event)}
                  >
                    Send again<span class="hidden"> {`${event.type} ${shortenId(event.id)}`}</span>
                  </button>
                ),
              },
            ]}
          />
          <More pages={pages} name="events" />
        </>
      )}
      {chosen && (
        <Confirm
          title={`Send ${chosen.type} again`}
          action="Send again"
          run={async () => {
            await ask(api.POST('/v1/webhook-events/{id}/resend', { params: { path: { id: chosen.id } } }));
            reload();
          }}
          onClose={() => setChosen(null)}
        >
          <p>
            It is sent to WEBHOOK_URL with the id that it has, {shortenId(chosen.id)}, so that a receiver that keeps ids
            does nothing twice.
          </p>
        </Confirm>
      )}
    </Panel>
  );
}

/** Whether WEBHOOK_URL is set, as long as the server has not said otherwise. */
function useReceiver(): boolean {
  const { data } = useAsk(() => ask(api.GET('/v1/settings')), '');
  return !data || data.data.some(({ name, source }) => name === 'WEBHOOK_URL' && source !== 'default');
}

type DueProps = { event: WebhookEvent; hasReceiver: boolean };

function Due({ event: { next_at, delivered_at }, hasReceiver }: DueProps) {
  if (delivered_at) return <Time at={delivered_at} />;
  if (!next_at) return <span class="quiet">–</span>;
  if (!hasReceiver) return <span class="quiet">waits for WEBHOOK_URL</span>;
  return next_at * 1000 < Date.now() ? <span class="quiet">due</span> : <Time at={next_at} />;
}
