// How a reply is sampled, and what it may be.

import { Check, Field } from '../parts/field.tsx';
import { DEFAULTS, type Options } from './chat-types.ts';

const SCHEMA_EXAMPLE = '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}';

type OptionsProps = { options: Options; onChange(changes: Partial<Options>): void };

export function OptionFields({ options, onChange }: OptionsProps) {
  const { system, temperature, topP, maxTokens, seed, schema, logprobs } = options;
  const isDefault = JSON.stringify(options) === JSON.stringify(DEFAULTS);
  return (
    <div class="form options">
      <Field label="System message">
        <textarea
          rows={3}
          value={system}
          placeholder="none"
          onInput={(event) => onChange({ system: event.currentTarget.value })}
        />
      </Field>
      <Slider label="Temperature" value={temperature} max={2} onChange={(value) => onChange({ temperature: value })} />
      <Slider label="Top p" value={topP} min={0.05} max={1} onChange={(value) => onChange({ topP: value })} />
      <div class="row">
        <Field label="Max tokens">
          <input
            type="number"
            min={1}
            max={100_000}
            value={maxTokens}
            placeholder="no limit"
            onInput={(event) => onChange({ maxTokens: event.currentTarget.value })}
          />
        </Field>
        <Field label="Seed">
          <input
            type="number"
            min={0}
            step={1}
            placeholder="random"
            value={seed}
            onInput={(event) => onChange({ seed: event.currentTarget.value })}
          />
        </Field>
      </div>
      <Field label="JSON Schema" hint="The reply is JSON that matches this schema.">
        <textarea
          rows={2}
          class="code"
          value={schema}
          placeholder={SCHEMA_EXAMPLE}
          spellcheck={false}
          onInput={(event) => onChange({ schema: event.currentTarget.value })}
        />
      </Field>
      <Check
        label="Log-probabilities"
        isChecked={logprobs}
        onChange={(isChecked) => onChange({ logprobs: isChecked })}
      />
      {!isDefault && (
        <button type="button" class="plain small" onClick={() => onChange(DEFAULTS)}>
          Back to the defaults
        </button>
      )}
    </div>
  );
}

type SliderProps = { label: string; value: number; min?: number; max: number; onChange(value: number): void };

function Slider({ label, value, min = 0, max, onChange }: SliderProps) {
  return (
    <div class="field slider">
      <label>
        <span class="label">{label}</span>
        <input
          type="range"
          min={min}
          max={max}
          step={0.05}
          value={value}
          onInput={(event) => onChange(event.currentTarget.valueAsNumber)}
        />
      </label>
      <output>{value.toFixed(2)}</output>
    </div>
  );
}
