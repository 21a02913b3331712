// The audit log: who changed what.

import '../settings/settings.css';
import { api, ask } from '../../api.ts';
import type { components, paths } from '../../api-types.ts';
import { AUDIT_FILTERS, AuditFilters } from '../audit/filters.tsx';
import { formatTime } from '../format.ts';
import { Segments } from '../parts/field.tsx';
import { IdLink, shortenId, Time } from '../parts/links.tsx';
import { More } from '../parts/more.tsx';
import { Page, Panel } from '../parts/page.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { Table } from '../parts/table.tsx';
import type { ViewProps } from '../session.ts';
import { useAsk } from '../use-ask.ts';
import { keepSet, useFilters } from '../use-filters.ts';
import { usePages } from '../use-pages.ts';

type AuditEvent = components['schemas']['AuditEvent'];
type Query = NonNullable<paths['/v1/audit']['get']['parameters']['query']>;

const KINDS = { pol: 'policies', round: 'rounds', que: 'queues', canary: 'canaries' } as const;

export default function View({ session }: ViewProps) {
  const sorting = useFilters('order');
  const order = sorting.values.order === 'asc' ? 'asc' : 'desc';
  const filters = useFilters(...AUDIT_FILTERS);
  const filter = keepSet(filters.values);
  const pages = usePages<AuditEvent>((after) => {
    const query = { limit: 50, order, ...(after ? { after } : {}), ...filter } as Query;
    return ask(api.GET('/v1/audit', { params: { query } }));
  }, `${order} ${filters.key}`);
  const { data: names } = useAsk(() => readNames(session), '');
  const { data: dryRuns } = useAsk(readDryRuns, '');
  const people = [...(names ?? [])].filter(([id]) => /^(key|rater)_/.test(id));
  const { rows, error, isLoading, reload } = pages;
  return (
    <Page
      title="Audit"
      text="Who changed what. Events name people by their ids, and cannot be changed or deleted."
      actions={
        <>
          <Segments
            label="Order"
            value={order}
            options={[
              ['desc', 'Newest first'],
              ['asc', 'Oldest first'],
            ]}
            onChange={(value) => sorting.set({ order: value === 'asc' ? value : '' })}
          />
          <a class="button" href={`/v1/audit/export?${new URLSearchParams(filter)}`} download="audit.jsonl">
            Export
          </a>
        </>
      }
    >
      <Panel title="Events">
        <AuditFilters filters={filters} people={people} />
        {error && <Failure title="Not listed" error={error} retry={reload} />}
        {rows.length === 0 && isLoading && <Loading />}
        {rows.length === 0 && !isLoading && !error && filters.isSet && (
          <Empty title="Nothing matches" text="No event has all of these.">
            <button type="button" onClick={filters.clear}>
              Clear the filters
            </button>
          </Empty>
        )}
        {rows.length === 0 && !isLoading && !error && !filters.isSet && (
          <Empty
            title="Nothing has been changed yet"
            text="Promotions, rounds, keys, raters, queues and erasures leave an event here."
            command="npx attune audit export"
          />
        )}
        {rows.length > 0 && (
          <>
            <Table
              caption={order === 'asc' ? 'Events, oldest first' : 'Events, newest first'}
              rows={rows}
              rowKey={({ id }) => id}
              columns={[
                {
                  title: 'When',
                  cell: ({ created }) => (
                    <span title={formatTime(created)}>
                      <Time at={created} />
                    </span>
                  ),
                },
                {
                  title: 'Action',
                  cell: ({ action, target }) => (
                    <strong>{describeAction(action, dryRuns?.has(target) ? 'dry run' : null)}</strong>
                  ),
                },
                { title: 'Target', cell: ({ target }) => <Target id={target} name={names?.get(target)} /> },
                {
                  title: 'By',
                  cell: ({ actor }) => <span title={actor}>{names?.get(actor) ?? shortenId(actor)}</span>,
                },
                { title: 'Details', cell: ({ details }) => <Details details={details} /> },
              ]}
            />
            <More pages={pages} name="events" />
          </>
        )}
      </Panel>
    </Page>
  );
}

/** `key.created` → `Key created`. `what`: what it was done to, if its name does not tell */
function describeAction(action: string, what: string | null): string {
  const text = (what ? action.replace(/^[^.]+/, what) : action).replaceAll(/[._]/g, ' ');
  return text[0]!.toUpperCase() + text.slice(1);
}

function Target({ id, name }: { id: string; name: string | undefined }) {
  const kind = KINDS[id.split('_')[0] as keyof typeof KINDS];
  if (kind)
    return (
      <IdLink kind={kind} id={id}>
        {name ?? shortenId(id)}
      </IdLink>
    );
  return <span title={id}>{name ?? shortenId(id)}</span>;
}

function Details({ details }: { details: AuditEvent['details'] }) {
  const entries = Object.entries(details).filter(([, value]) => value !== null && value !== undefined);
  if (entries.length === 0) return <span class="quiet">–</span>;
  const text = entries
    .map(([name, value]) => `${name}: ${typeof value === 'object' ? JSON.stringify(value) : shortenId(String(value))}`)
    .join(', ');
  return (
    <span class="quiet audit-details" title={JSON.stringify(details)}>
      {text}
    </span>
  );
}

/** Of keys, raters, queues and policies, by id; a key of API_KEY is not listed. */
async function readNames({ key }: ViewProps['session']): Promise<Map<string, string>> {
  const query = { params: { query: { limit: 100 } } };
  const lists = await Promise.all([
    ask(api.GET('/v1/keys', query)),
    ask(api.GET('/v1/raters', query)),
    ask(api.GET('/v1/queues', query)),
    ask(api.GET('/v1/policies', query)),
  ]);
  const own: [string, string][] = key ? [[key.id, key.name ?? 'API_KEY']] : [];
  return new Map([...own, ...lists.flatMap(({ data }) => data.map(({ id, name }): [string, string] => [id, name]))]);
}

/** Of the newest hundred rounds: an event does not say it. */
async function readDryRuns(): Promise<Set<string>> {
  const { data } = await ask(api.GET('/v1/rounds', { params: { query: { limit: 100 } } }));
  return new Set(data.flatMap(({ id, dry_run: isDryRun }) => (isDryRun ? id : [])));
}
