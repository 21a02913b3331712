// What two policies are asked.

import { ChooseField, Field, NumberField } from '../parts/field.tsx';
import type { AnswerRequest } from './answer.ts';

const FORMS = [
  ['text', 'Text to continue'],
  ['chat', 'Chat message'],
] as const;

type CompareFormProps = {
  request: AnswerRequest;
  isRunning: boolean;
  onChange(changes: Partial<AnswerRequest>): void;
  run(event: Event): void;
};

export function CompareForm({ request, isRunning, onChange: set, run }: CompareFormProps) {
  return (
    <form class="panel compare-form" onSubmit={run}>
      <Field label="Prompt">
        <textarea
          rows={3}
          required
          value={request.prompt}
          onInput={({ currentTarget: { value } }) => set({ prompt: value })}
        />
      </Field>
      <div class="knobs">
        <ChooseField
          label="As"
          value={request.isChat ? 'chat' : 'text'}
          options={FORMS}
          onChange={(form) => set({ isChat: form === 'chat' })}
        />
        <NumberField
          label="Seed"
          value={request.seed}
          min={0}
          max={Number.MAX_SAFE_INTEGER}
          onChange={(seed) => set({ seed })}
        />
        <NumberField
          label="Temperature"
          value={request.temperature}
          min={0}
          max={2}
          step="any"
          onChange={(temperature) => set({ temperature })}
        />
        <NumberField
          label="Max tokens"
          value={request.maxTokens}
          min={1}
          max={100_000}
          onChange={(maxTokens) => set({ maxTokens })}
        />
        <button type="submit" class="primary" disabled={isRunning}>
          {isRunning ? 'Writing …' : 'Compare'}
        </button>
      </div>
    </form>
  );
}
