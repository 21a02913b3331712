// One preference: what was asked, both responses, what the rater said about them, and what learned from it.

import { api, ask, type Preference, type Session } from '../../api.ts';
import { Markdown } from '../../markdown/markdown.tsx';
import { follow } from '../../path.ts';
import { formatSeconds, formatTime } from '../format.ts';
import { Segments } from '../parts/field.tsx';
import { IdLink, shortenId, Time } from '../parts/links.tsx';
import { Badge, Page, Panel } from '../parts/page.tsx';
import { PolicyLink } from '../parts/policy-link.tsx';
import { ErrorLine, Loading, Missing } from '../parts/states.tsx';
import { PromptText } from '../parts/text.tsx';
import { useAsk } from '../use-ask.ts';
import { useFilters } from '../use-filters.ts';
import { useRaterNames } from '../use-rater-names.ts';
import { HeatMaps } from './heat-maps.tsx';
import { OtherRaters } from './other-raters.tsx';
import { CHOICES, ChoiceBadge, findLabel, isDecided, nameSide, SOURCES } from './words.tsx';
import { useWriters, Writer } from './writers.tsx';

export function Pair({ id, session }: { id: string; session: Session }) {
  const { data, error, reload } = useAsk(() => ask(api.GET('/v1/preferences/{id}', { params: { path: { id } } })), id);
  const nameRater = useRaterNames();
  if (error)
    return <Missing what="preference" error={error} retry={reload} list="preferences" listName="Preferences" />;
  if (!data) return <Loading />;
  return (
    <Page
      parent={
        <a href="/console/preferences" onClick={follow}>
          Preferences
        </a>
      }
      title={findTitle(data)}
      text={
        <>
          {nameRater(data.rater)}, <Time at={data.created} /> · <span class="id">{data.id}</span>
        </>
      }
    >
      <Panel title="Prompt">
        <PromptText prompt={data.prompt} />
      </Panel>
      <Responses preference={data} session={session} />
      <div class="columns">
        <Facts preference={data} nameRater={nameRater} />
        <Learners preference={data} />
      </div>
      {data.demonstration && <Edit id={data.demonstration} shown={data.chosen.text} />}
      {data.comparison && <OtherRaters comparison={data.comparison} preference={data} nameRater={nameRater} />}
    </Page>
  );
}

function findTitle({ choice, source, strength }: Preference): string {
  if (source === 'demonstration') return 'An edited response';
  const isSide = choice === 'a' || choice === 'b';
  if (isSide && source !== 'comparison') return 'A chosen response';
  return `${findLabel(CHOICES, choice)}${strength ? `, ${strength}` : ''}`;
}

/** The first side is the chosen one, if there is one. */
function Responses({ preference, session }: { preference: Preference; session: Session }) {
  const { values, set } = useFilters('show', 'by');
  const isHeat = values.show === 'tokens';
  const findWriter = useWriters(preference);
  return (
    <Panel
      title="Responses"
      hint={isHeat ? 'Each token by how much likelier a policy makes it than the root of its line does' : ''}
      actions={
        <Segments
          label="Responses as"
          value={isHeat ? 'tokens' : 'text'}
          options={[
            ['text', 'Text'],
            ['tokens', 'Heat map'],
          ]}
          onChange={(show) => set({ show: show === 'text' ? '' : show })}
        />
      }
    >
      {isHeat ? (
        <HeatMaps preference={preference} session={session} policy={values.by} choose={(by) => set({ by })} />
      ) : (
        <div class="columns">
          {(['chosen', 'rejected'] as const).map((side) => (
            <section
              key={side}
              class={`response ${isDecided(preference) ? side : ''}`}
              aria-label={nameSide(preference, side)}
            >
              <h3>{nameSide(preference, side)}</h3>
              <Writer writer={findWriter(preference[side].generation)} isNamed={isDecided(preference)} />
              <Markdown text={preference[side].text} />
            </section>
          ))}
        </div>
      )}
    </Panel>
  );
}

function Facts({ preference, nameRater }: { preference: Preference; nameRater(rater: string): string }) {
  const { rater, source, trust, strength, tags, comment, seconds, created, comparison, queue, edit_of } = preference;
  return (
    <Panel title="The vote">
      <dl class="lines">
        <Fact name="Choice">
          <ChoiceBadge preference={preference} />
          {strength && ` ${strength}`}
        </Fact>
        <Fact name="Rater">
          <a href={`/console/preferences?rater=${encodeURIComponent(rater)}`} title={rater} onClick={follow}>
            {nameRater(rater)}
          </a>
        </Fact>
        <Fact name="Tags">
          {tags.length === 0
            ? null
            : tags.map((tag) => (
                <span class="tag" key={tag}>
                  {tag}
                </span>
              ))}
        </Fact>
        <Fact name="Comment">{comment && <span dir="auto">{comment}</span>}</Fact>
        <Fact name="Time taken">{seconds === null ? null : formatSeconds(seconds)}</Fact>
        <Fact name="Given">{formatTime(created)}</Fact>
        <Fact name="Source">
          {findLabel(SOURCES, source)}, {trust}
        </Fact>
        <Fact name="Queue">{queue && <IdLink kind="queues" id={queue} />}</Fact>
        <Fact name="Comparison">{comparison && <span class="id">{shortenId(comparison)}</span>}</Fact>
        <Fact name="Edit of">{edit_of && <IdLink kind="preferences" id={edit_of} />}</Fact>
        <Fact name="Redacted">{preference.redacted && 'Parts were replaced before it was stored'}</Fact>
      </dl>
    </Panel>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  if (children === null || children === undefined || children === '' || children === false) return null;
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Learners({ preference: { learned_by, choice } }: { preference: Preference }) {
  const isPair = choice === 'a' || choice === 'b';
  return (
    <Panel title="Learned by">
      {learned_by.length === 0 ? (
        <p class="quiet said-of">
          {isPair
            ? 'No policy yet. The next round that is published names itself here, if this pair is not one that it holds out.'
            : 'Rounds learn from choices of a side only.'}
        </p>
      ) : (
        <>
          <ul class="plain-list">
            {learned_by.map((id) => (
              <li key={id}>{id.startsWith('pol_') ? <PolicyLink id={id} /> : <span class="id">{id}</span>}</li>
            ))}
          </ul>
          <p class="quiet said-of">
            The descendants of {learned_by.length === 1 ? 'this policy' : 'these policies'} learned from it too.
          </p>
        </>
      )}
    </Panel>
  );
}

/** What the rater made of the better response. */
function Edit({ id, shown }: { id: string; shown: string }) {
  const { data, error } = useAsk(() => ask(api.GET('/v1/preferences/{id}', { params: { path: { id } } })), id);
  return (
    <Panel
      title="The rater’s better version"
      hint="A preference of its own over the response that was chosen"
      actions={<IdLink kind="preferences" id={id} />}
    >
      {error && <ErrorLine>{error.message}</ErrorLine>}
      {data && <Markdown text={data.chosen.text} />}
      {data && data.chosen.text.length !== shown.length && (
        <p class="quiet said-of">
          <Badge tone="quiet">{`${data.chosen.text.length > shown.length ? '+' : '−'}${Math.abs(data.chosen.text.length - shown.length)} characters`}</Badge>
        </p>
      )}
    </Panel>
  );
}
