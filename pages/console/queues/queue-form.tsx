// The fields of a queue, new or changed: what is used most, and the rest behind a click.

import { api, ask } from '../../api.ts';
import { Check, Field, NameField, NumberField } from '../parts/field.tsx';
import { shortenId } from '../parts/links.tsx';
import { namePolicy } from '../parts/policy-link.tsx';
import { useAsk } from '../use-ask.ts';
import { type Draft, PAIRINGS } from './queue-draft.ts';

type QueueFormProps = { draft: Draft; onChange(changes: Partial<Draft>): void };

export function QueueForm({ draft, onChange }: QueueFormProps) {
  /** What a field of text or a list says. */
  const set = <Name extends keyof Draft>(name: Name) => ({
    value: draft[name] as string,
    onInput: (event: { currentTarget: { value: string } }) => onChange({ [name]: event.currentTarget.value }),
  });
  const setNumber = (name: keyof Draft) => ({
    value: draft[name] as number,
    onChange: (value: number) => onChange({ [name]: value }),
  });
  return (
    <div class="form">
      <NameField value={draft.name} onChange={(name) => onChange({ name })} />
      <Field label="What is compared">
        <select {...set('pairing')}>
          {PAIRINGS.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </Field>
      <Policies draft={draft} onChange={onChange} />
      <Field label="Guidelines" hint="Markdown; raters see them first, and again when they change">
        <textarea rows={3} {...set('guidelines')} />
      </Field>
      <div class="row">
        <NumberField label="Reviews of each item" min={1} max={100} {...setNumber('reviews')} />
        <NumberField label="Gold items, %" min={0} max={100} step="any" {...setNumber('goldPercent')} />
        <NumberField label="Max tokens" min={1} max={100_000} {...setNumber('maxTokens')} />
      </div>
      <div class="row">
        <Field label="Reasons to choose from" hint="separated by commas">
          <input placeholder="correct, clear" {...set('tags')} />
        </Field>
        <Field label="Skills" hint="who may rate; none: everybody">
          <input placeholder="german" {...set('skills')} />
        </Field>
        <Field label="By how much it is better">
          <select {...set('strength')}>
            {['optional', 'required', 'off'].map((value) => (
              <option key={value}>{value}</option>
            ))}
          </select>
        </Field>
      </div>
      <Check
        label="Raters may improve the better response"
        isChecked={draft.edits}
        onChange={(edits) => onChange({ edits })}
      />
      <Check
        label="Raters see the policies after their vote"
        isChecked={draft.reveal}
        onChange={(reveal) => onChange({ reveal })}
      />
      <details>
        <summary>More settings</summary>
        <div class="form">
          <div class="row">
            <Field label="Order of the items">
              <select {...set('order')}>
                <option value="random">random</option>
                <option value="imported">as imported</option>
              </select>
            </Field>
            <Field label="Deadline" hint="after which no item is given out">
              <input type="datetime-local" {...set('deadline')} />
            </Field>
            <NumberField label="Minutes for an item" min={0.2} max={1440} step="any" {...setNumber('minutes')} />
          </div>
          <div class="row">
            <NumberField label="Temperature" min={0} max={2} step="any" {...setNumber('temperature')} />
            <NumberField label="Repeated items, %" min={0} max={100} step="any" {...setNumber('repeatPercent')} />
          </div>
          <div class="row">
            <NumberField label="Calibration items" min={0} max={100} {...setNumber('calibrationItems')} />
            <NumberField label="of which right, %" min={0} max={100} step="any" {...setNumber('calibrationPercent')} />
          </div>
          <div class="row">
            <NumberField label="Paused below, % of gold" min={0} max={100} step="any" {...setNumber('pausePercent')} />
            <NumberField label="over the last gold items" min={1} max={1000} {...setNumber('pauseItems')} />
          </div>
        </div>
      </details>
    </div>
  );
}

function Policies({ draft, onChange }: QueueFormProps) {
  const { data } = useAsk(() => ask(api.GET('/v1/policies', { params: { query: { limit: 100 } } })), '');
  const known = data?.data ?? [];
  const choose = (label: string, value: string, first: string, set: (id: string) => void) => (
    <Field label={label}>
      <select required={first === ''} value={value} onChange={(event) => set(event.currentTarget.value)}>
        <option value="">{first || 'Choose …'}</option>
        {value !== '' && !known.some(({ id }) => id === value) && <option value={value}>{shortenId(value)}</option>}
        {known.map((policy) => (
          <option key={policy.id} value={policy.id}>
            {namePolicy(policy)}
          </option>
        ))}
      </select>
    </Field>
  );
  if (draft.pairing === 'canary') return null;
  if (draft.pairing !== 'policies')
    return choose('Policy', draft.policy, 'The active one, whichever it is', (policy) => onChange({ policy }));
  const [one, other] = draft.policies;
  return (
    <div class="row">
      {choose('One policy', one, '', (id) => onChange({ policies: [id, other] }))}
      {choose('The other', other, '', (id) => onChange({ policies: [one, id] }))}
    </div>
  );
}
