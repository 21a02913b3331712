// A new key: what it is for, what it may do, how much, and how long.

import { useState } from 'preact/hooks';
import { api, ask } from '../../api.ts';
import { Confirm } from '../parts/confirm.tsx';
import { Check, ChooseField, Field, NameField } from '../parts/field.tsx';
import { type KeyWithText, PRESETS, SCOPES, type Scope } from './words.ts';

const EXPIRIES = [
  [0, 'never'],
  [7, 'in a week'],
  [30, 'in 30 days'],
  [90, 'in 90 days'],
  [365, 'in a year'],
] as const;
const DAY = 86_400;

const LIMITS = [
  ['requests_per_minute', 'Requests per minute'],
  ['tokens_per_minute', 'Tokens per minute'],
  ['concurrent_generations', 'Generations at once'],
  ['rows_per_day', 'Rows stored per day'],
] as const;
type Limits = Partial<Record<(typeof LIMITS)[number][0], number>>;

export function CreateKey({ onClose, onCreated }: { onClose(): void; onCreated(key: KeyWithText): void }) {
  const [name, setName] = useState('');
  const [scopes, setScopes] = useState<Scope[]>([]);
  const [tenant, setTenant] = useState('default');
  const [days, setDays] = useState<number>(0);
  const [limits, setLimits] = useState<Limits>({});
  const create = async () => {
    if (scopes.length === 0) throw new Error('Choose what the key may do.');
    const expiry = days === 0 ? {} : { expires_at: Math.floor(Date.now() / 1000) + days * DAY };
    onCreated(await ask(api.POST('/v1/keys', { body: { name, scopes, tenant, ...expiry, ...limits } })));
  };
  const toggle = (scope: Scope, isChosen: boolean) =>
    setScopes((before) => (isChosen ? [...before, scope] : before.filter((one) => one !== scope)));
  return (
    <Confirm title="New key" action="Create the key" isWide run={create} onClose={onClose}>
      <div class="form">
        <NameField value={name} hint="the program that has it" onChange={setName} />
        <fieldset class="group scope-choice">
          <legend>It may</legend>
          <div class="presets">
            {PRESETS.map(([label, preset]) => (
              <button type="button" class="small" key={label} onClick={() => setScopes(preset)}>
                {label}
              </button>
            ))}
          </div>
          {SCOPES.map(([scope, description]) => (
            <Check
              key={scope}
              label={
                <>
                  <strong>{scope}</strong> <span class="quiet">{description}</span>
                </>
              }
              isChecked={scopes.includes(scope)}
              onChange={(isChosen) => toggle(scope, isChosen)}
            />
          ))}
        </fieldset>
        <div class="row">
          <ChooseField label="Expires" value={days} options={EXPIRIES} onChange={(chosen) => setDays(chosen)} />
          <Field label="Tenant" hint="whose rows it reads and stores">
            <input
              required
              pattern="[\w.\-]{1,64}"
              value={tenant}
              onInput={(event) => setTenant(event.currentTarget.value)}
            />
          </Field>
        </div>
        <fieldset class="group">
          <legend>Limits</legend>
          <div class="row">
            {LIMITS.map(([limit, label]) => (
              <Field label={label} key={limit}>
                <input
                  type="number"
                  min={1}
                  max={1_000_000_000}
                  placeholder="the server’s"
                  value={limits[limit]}
                  onInput={(event) => {
                    const { valueAsNumber: value } = event.currentTarget;
                    const { [limit]: _, ...others } = limits;
                    setLimits(Number.isNaN(value) ? others : { ...others, [limit]: value });
                  }}
                />
              </Field>
            ))}
          </div>
        </fieldset>
      </div>
    </Confirm>
  );
}
