// API keys: who may do what, and how much of it.

import '../keys/keys.css';
import { useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import { formatCount, formatTime } from '../format.ts';
import { type KeyDialog, KeyDialogs } from '../keys/key-dialogs.tsx';
import { isUsable, type Key } from '../keys/words.ts';
import { Check } from '../parts/field.tsx';
import { Time } from '../parts/links.tsx';
import { More } from '../parts/more.tsx';
import { Badge, Page, Panel } from '../parts/page.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { Table } from '../parts/table.tsx';
import type { ViewProps } from '../session.ts';
import { usePages } from '../use-pages.ts';

export default function View({ session }: ViewProps) {
  const [dialog, setDialog] = useState<KeyDialog | null>(null);
  const [hasRevoked, setRevoked] = useState(false);
  const pages = usePages<Key>(
    (after) => ask(api.GET('/v1/keys', { params: { query: { limit: 50, ...(after ? { after } : {}) } } })),
    '',
  );
  const { rows, error, isLoading, reload } = pages;
  const shown = rows.filter((key) => hasRevoked || isUsable(key));
  const create = (
    <button type="button" class="primary" onClick={() => setDialog({ kind: 'create' })}>
      New key
    </button>
  );
  // Nobody is asked for a key where this page is shown without one.
  const isOpen = session.key === null && session.rater === null;
  return (
    <Page
      title="Keys"
      text="Attune keeps a hash of each. One that is revoked or rotated stops working within a second, everywhere."
      actions={create}
    >
      {isOpen && (
        <p class="warning">
          API_KEY is not set, so this server also accepts every request without a key. Set it to ask everybody for one.
        </p>
      )}
      <Panel
        title="API keys"
        actions={
          rows.some((key) => !isUsable(key)) && (
            <Check label="Show revoked and expired ones" isChecked={hasRevoked} onChange={setRevoked} />
          )
        }
      >
        {error && <Failure title="Not listed" error={error} retry={reload} />}
        {rows.length === 0 && isLoading && <Loading />}
        {shown.length === 0 && !isLoading && !error && (
          <Empty
            title="There is no key in use"
            text="Keys of API_KEY are not listed: they are a setting. Make one for each program, with the scopes that it needs."
            command='npx attune keys create "chat backend" --scope generate feedback'
          >
            {create}
          </Empty>
        )}
        {shown.length > 0 && (
          <>
            <Table
              caption="API keys, newest first"
              rows={shown}
              rowKey={({ id }) => id}
              columns={[
                {
                  title: 'Name',
                  cell: ({ name, id, tenant, created }) => (
                    <span class="key-name">
                      {name}
                      <span class="quiet about">
                        <span class="id">{id}</span> · <Time at={created} />
                      </span>
                      {tenant !== 'default' && <span class="tag">{tenant}</span>}
                    </span>
                  ),
                },
                {
                  title: 'May',
                  cell: ({ scopes }) => (
                    <span class="scopes">
                      {scopes.map((scope) => (
                        <span class={scope === 'admin' ? 'tag admin' : 'tag'} key={scope}>
                          {scope}
                        </span>
                      ))}
                    </span>
                  ),
                },
                { title: 'State', cell: (key) => <KeyBadge apiKey={key} /> },
                {
                  title: 'Last used',
                  cell: ({ last_used_at: at }) => (at ? <Time at={at} /> : <span class="quiet">never</span>),
                },
                { title: 'Limits', cell: (key) => <Limits apiKey={key} /> },
                {
                  title: 'Change',
                  cell: (key) =>
                    key.revoked_at === null && (
                      <span class="row-actions">
                        <button type="button" class="small" onClick={() => setDialog({ kind: 'rotate', key })}>
                          Rotate<span class="hidden"> {key.name}</span>
                        </button>
                        <button type="button" class="small" onClick={() => setDialog({ kind: 'revoke', key })}>
                          Revoke<span class="hidden"> {key.name}</span>
                        </button>
                      </span>
                    ),
                },
              ]}
            />
            <More pages={pages} name="keys" />
          </>
        )}
      </Panel>
      <KeyDialogs dialog={dialog} open={setDialog} reload={reload} />
    </Page>
  );
}

function KeyBadge({ apiKey: { revoked_at, expires_at } }: { apiKey: Key }) {
  if (revoked_at !== null)
    return (
      <span title={formatTime(revoked_at)}>
        <Badge tone="bad">revoked</Badge>
      </span>
    );
  if (expires_at === null) return <Badge tone="good">in use</Badge>;
  if (expires_at * 1000 < Date.now()) return <Badge tone="warn">expired</Badge>;
  return (
    <span class="expiry">
      <Badge tone="good">in use</Badge> <span class="quiet">ends</span> <Time at={expires_at} />
    </span>
  );
}

const LIMITS = [
  ['requests_per_minute', 'requests / min'],
  ['tokens_per_minute', 'tokens / min'],
  ['concurrent_generations', 'at once'],
  ['rows_per_day', 'rows / day'],
] as const;

function Limits({ apiKey }: { apiKey: Key }) {
  const words = LIMITS.flatMap(([name, label]) =>
    apiKey[name] === null ? [] : [`${formatCount(apiKey[name])} ${label}`],
  );
  return words.length === 0 ? <span class="quiet">the server’s</span> : <span class="limits">{words.join(', ')}</span>;
}
