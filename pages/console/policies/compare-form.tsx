// What two policies are asked.

import { Field, NumberField } from '../parts/field.tsx';
import type { AnswerRequest } from './answer.ts';

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
        <Field label="As">
          <select
            value={request.isChat ? 'chat' : 'text'}
            onChange={({ currentTarget: { value } }) => set({ isChat: value === 'chat' })}
          >
            <option value="text">Text to continue</option>
            <option value="chat">Chat message</option>
          </select>
        </Field>
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
          label="Tokens"
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
