// The settings in groups, which a word finds and a switch cuts down to those that somebody set.

import { api, ask } from '../../api.ts';
import type { components } from '../../api-types.ts';
import { Check, Search } from '../parts/field.tsx';
import { Badge, Panel } from '../parts/page.tsx';
import { Empty, Failure, Loading } from '../parts/states.tsx';
import { useAsk } from '../use-ask.ts';
import { useFilters } from '../use-filters.ts';
import { groupSettings } from './groups.ts';

type Setting = components['schemas']['Setting'];

export function SettingList() {
  const { values, set, clear } = useFilters('find', 'set');
  const { data, error, isLoading, reload } = useAsk(() => ask(api.GET('/v1/settings')), '');
  if (error) return <Failure title="Not listed" error={error} retry={reload} />;
  if (!data) return isLoading ? <Loading /> : null;
  const sought = values.find.toLowerCase();
  const found = data.data.filter(
    ({ name, description, source }) =>
      `${name} ${description}`.toLowerCase().includes(sought) && (values.set === '' || source !== 'default'),
  );
  const count = data.data.filter(({ source }) => source !== 'default').length;
  return (
    <>
      <div class="filters">
        <Search label="Find a setting" value={values.find} onChange={(find) => set({ find }, true)} />
        <Check
          label={`Only the ${count} that are set`}
          isChecked={values.set !== ''}
          onChange={(isChecked) => set({ set: isChecked ? 'yes' : '' })}
        />
      </div>
      {found.length === 0 && (
        <Panel title="Settings">
          <Empty
            title={values.find === '' ? 'Everything has its default' : 'No setting is called that'}
            text="Set one in the environment, and start the server again."
            command="PORT=9000 CANARY=on npx attune start"
          >
            <button type="button" onClick={clear}>
              Show all
            </button>
          </Empty>
        </Panel>
      )}
      {groupSettings(found).map(([title, settings]) => (
        <Panel key={title} title={title}>
          <dl class="setting-list">
            {settings.map((setting) => (
              <Row key={setting.name} setting={setting} />
            ))}
          </dl>
        </Panel>
      ))}
    </>
  );
}

function Row({ setting }: { setting: Setting }) {
  const { name, value, default: usual, source, secret, description } = setting;
  const isSet = source !== 'default';
  return (
    <div class={isSet ? 'set' : undefined}>
      <dt>
        <code>{name}</code>
        {isSet && <Badge tone="busy">{source}</Badge>}
      </dt>
      <dd class="value">
        <code>{secret ? (isSet ? '•••••• set' : 'not set') : (value ?? 'not set')}</code>
        {isSet && !secret && usual !== value && <span class="quiet">{`default ${usual ?? 'none'}`}</span>}
      </dd>
      <dd class="quiet">{description}</dd>
    </div>
  );
}
