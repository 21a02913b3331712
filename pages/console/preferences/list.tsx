// All preferences, newest first, filtered by the address and read page by page.

import { useRef } from 'preact/hooks';
import { api, ask, type Preference } from '../../api.ts';
import type { paths } from '../../api-types.ts';
import { follow } from '../../path.ts';
import { Choose, Search } from '../parts/field.tsx';
import { shortenId, Time } from '../parts/links.tsx';
import { More } from '../parts/more.tsx';
import { Page } from '../parts/page.tsx';
import { namePolicy } from '../parts/policy-link.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { toLine } from '../parts/text.tsx';
import { useAsk } from '../use-ask.ts';
import { keepSet, useFilters } from '../use-filters.ts';
import { usePages } from '../use-pages.ts';
import { formatRater } from '../use-rater-names.ts';
import { RaterFilter } from './rater-filter.tsx';
import { CHOICES, ChoiceBadge, findLabel, SOURCES } from './words.tsx';

type Query = NonNullable<paths['/v1/preferences']['get']['parameters']['query']>;

const PAGE_SIZE = 25;

export function PreferenceList() {
  const filters = useFilters('search', 'choice', 'source', 'rater', 'policy', 'queue', 'canary');
  const { values, set } = filters;
  const pages = usePages<Preference>(
    (after) =>
      ask(
        api.GET('/v1/preferences', {
          params: { query: { limit: PAGE_SIZE, ...(after ? { after } : {}), ...keepSet(values) } as Query },
        }),
      ),
    filters.key,
  );
  const { data: named } = useAsk(readNames, '');
  return (
    <Page title="Preferences" text="Every choice that somebody made. The next round learns from those that are new.">
      <section class="panel" aria-label="Preferences">
        <div class="filters">
          <Search
            label="Search prompts and responses"
            value={values.search}
            onChange={(search) => set({ search }, true)}
          />
          <Choose
            label="Choice"
            value={values.choice}
            options={[['', 'Any choice'], ...CHOICES]}
            onChange={(choice) => set({ choice })}
          />
          <Choose
            label="Source"
            value={values.source}
            options={[['', 'Any source'], ...SOURCES]}
            onChange={(source) => set({ source })}
          />
          <Choose
            label="Policy"
            value={values.policy}
            options={[['', 'Any policy'], ...(named?.policies ?? [])]}
            onChange={(policy) => set({ policy })}
          />
          <Choose
            label="Queue"
            value={values.queue}
            options={[['', 'Any queue'], ...(named?.queues ?? [])]}
            onChange={(queue) => set({ queue })}
          />
          <RaterFilter
            value={values.rater}
            named={named?.raters ?? []}
            shown={[...new Set(pages.rows.map(({ rater }) => rater))]}
            onChange={(rater) => rater !== values.rater && set({ rater })}
          />
          {values.canary !== '' && (
            <Choose
              label="Canary"
              value={values.canary}
              options={[
                ['', 'Any canary'],
                [values.canary, `Canary ${shortenId(values.canary)}`],
              ]}
              onChange={(canary) => set({ canary })}
            />
          )}
          {filters.isSet && (
            <button type="button" class="plain" onClick={filters.clear}>
              Clear
            </button>
          )}
        </div>
        <Rows pages={pages} isFiltered={filters.isSet} clear={filters.clear} raters={new Map(named?.raters ?? [])} />
      </section>
    </Page>
  );
}

type RowsProps = {
  pages: ReturnType<typeof usePages<Preference>>;
  isFiltered: boolean;
  clear(): void;
  raters: Map<string, string>;
};

function Rows({ pages, isFiltered, clear, raters }: RowsProps) {
  const list = useRef<HTMLUListElement>(null);
  const { rows, error, isLoading } = pages;
  if (error && rows.length === 0) return <Failure title="Not listed" error={error} retry={pages.reload} />;
  if (rows.length === 0 && isLoading) return <Loading />;
  if (rows.length === 0)
    return isFiltered ? (
      <Empty title="Nothing matches" text="No preference has all of these.">
        <button type="button" onClick={clear}>
          Clear the filters
        </button>
      </Empty>
    ) : (
      <Empty
        title="Nobody has voted yet"
        text="Compare two responses in the arena, or import pairs that you have."
        command="npx attune preferences import votes.jsonl"
      >
        <a class="button primary" href="/rate">
          Vote in the arena
        </a>
      </Empty>
    );
  /** Arrows go from row to row. */
  const press = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    const links = [...list.current!.querySelectorAll('a')];
    const next = links[links.indexOf(document.activeElement as HTMLAnchorElement) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  };
  return (
    <>
      <ul class="pairs" ref={list} onKeyDown={press} aria-label="Preferences">
        {rows.map((row) => (
          <Row key={row.id} row={row} rater={raters.get(row.rater) ?? formatRater(row.rater)} />
        ))}
      </ul>
      <More pages={pages} name="preferences" />
    </>
  );
}

function Row({ row, rater }: { row: Preference; rater: string }) {
  return (
    <li>
      <a href={`/console/preferences/${row.id}`} onClick={follow}>
        <span class="choice">
          <ChoiceBadge preference={row} />
        </span>
        <span class="what">
          <span class="prompt" dir="auto">
            {toLine(row.prompt)}
          </span>
          <span class="response quiet" dir="auto">
            {toLine(row.chosen.text)}
          </span>
        </span>
        <span class="marks">
          {row.source !== 'comparison' && <span class="tag">{findLabel(SOURCES, row.source)}</span>}
          {row.tags.slice(0, 2).map((tag) => (
            <span class="tag" key={tag}>
              {tag}
            </span>
          ))}
          {row.comment && <span class="tag">comment</span>}
          {row.learned_by.length > 0 && <span class="tag learned">learned</span>}
        </span>
        <span class="rater" title={row.rater}>
          {rater}
        </span>
        <span class="when quiet">
          <Time at={row.created} />
        </span>
      </a>
    </li>
  );
}

/** What one can filter by, with its names. */
async function readNames() {
  const query = { params: { query: { limit: 100 } } };
  const [policies, queues, raters] = await Promise.all([
    ask(api.GET('/v1/policies', query)),
    ask(api.GET('/v1/queues', query)),
    ask(api.GET('/v1/raters', query)),
  ]);
  return {
    policies: policies.data.map((policy) => [policy.id, namePolicy(policy)] as const),
    queues: queues.data.map(({ id, name }) => [id, name] as const),
    raters: raters.data.map(({ id, name }) => [id, name] as const),
  };
}
