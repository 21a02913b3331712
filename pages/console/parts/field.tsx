// Fields of forms with their labels, and the choice of one of a few things.

import './field.css';
import './filters.css';
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';

type FieldProps = { label: string; hint?: ComponentChildren; class?: string; children: ComponentChildren };

/** `children`: one input, which the label is of. */
export function Field({ label, hint, class: name, children }: FieldProps) {
  return (
    <div class={name ? `field ${name}` : 'field'}>
      {/* biome-ignore lint/a11y/noLabelWithoutControl: the control is the child */}
      <label>
        <span class="label">{label}</span>
        {children}
      </label>
      {hint && <p class="quiet">{hint}</p>}
    </div>
  );
}

type CheckProps = {
  label: ComponentChildren;
  isChecked: boolean;
  disabled?: boolean;
  onChange(isChecked: boolean): void;
};

export function Check({ label, isChecked, disabled, onChange }: CheckProps) {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={isChecked}
        disabled={disabled}
        onChange={(event) => onChange(event.currentTarget.checked)}
      />
      <span>{label}</span>
    </label>
  );
}

type NameFieldProps = { value: string; hint?: string; onChange(name: string): void };

/** Of a key, a rater or a queue. */
export function NameField({ value, hint, onChange }: NameFieldProps) {
  return (
    <Field label="Name" hint={hint}>
      <input required maxLength={200} value={value} onInput={(event) => onChange(event.currentTarget.value)} />
    </Field>
  );
}

type NumberFieldProps = {
  label: string;
  value: number;
  min: number;
  max: number;
  /** default: whole numbers */
  step?: 'any';
  onChange(value: number): void;
};

export function NumberField({ label, value, min, max, step, onChange }: NumberFieldProps) {
  return (
    <Field label={label}>
      <input
        type="number"
        required
        min={min}
        max={max}
        step={step}
        value={Number.isNaN(value) ? '' : value}
        onInput={(event) => onChange(event.currentTarget.valueAsNumber)}
      />
    </Field>
  );
}

type Option<Value> = readonly [value: Value, label: string];
type ChooseProps<Value> = {
  label: string;
  value: Value;
  options: readonly Option<Value>[];
  onChange(value: Value): void;
};

/** With its label above. */
export function ChooseField<Value extends string | number>({ label, ...props }: ChooseProps<Value>) {
  return (
    <Field label={label}>
      <Options {...props} />
    </Field>
  );
}

/** Of a row of filters: its label is hidden, because its first option says what it is. A value that is not listed is kept. */
export function Choose({ value, options, ...props }: ChooseProps<string>) {
  const all = options.some(([listed]) => listed === value) ? options : [...options, [value, value] as const];
  return <Options {...props} value={value} options={all} />;
}

type OptionsProps<Value> = Omit<ChooseProps<Value>, 'label'> & { label?: string };

function Options<Value extends string | number>({ label, value, options, onChange }: OptionsProps<Value>) {
  return (
    <select
      aria-label={label}
      value={value}
      onChange={(event) => onChange(options[event.currentTarget.selectedIndex]![0])}
    >
      {options.map(([listed, text]) => (
        <option key={listed} value={listed}>
          {text}
        </option>
      ))}
    </select>
  );
}

type SegmentsProps<Value extends string> = {
  label: string;
  value: Value;
  options: readonly Option<Value>[];
  onChange(value: Value): void;
};

/** One of a few, all of which are shown. */
export function Segments<Value extends string>({ label, value, options, onChange }: SegmentsProps<Value>) {
  return (
    <fieldset class="segments">
      <legend class="hidden">{label}</legend>
      {options.map(([listed, text]) => (
        <button key={listed} type="button" aria-pressed={listed === value} onClick={() => onChange(listed)}>
          {text}
        </button>
      ))}
    </fieldset>
  );
}

const TYPING_MS = 250;

type SearchProps = { label: string; value: string; placeholder?: string; onChange(value: string): void };

/** Says what is sought when one stops typing. */
export function Search({ label, value, placeholder = label, onChange }: SearchProps) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text.trim()), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <input
      type="search"
      aria-label={label}
      placeholder={placeholder}
      value={text}
      onInput={(event) => setText(event.currentTarget.value)}
    />
  );
}
