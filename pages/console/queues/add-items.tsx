// Items for a queue: pasted, or from a file, as JSONL or with a message of a user on each line.

import { useState } from 'preact/hooks';
import { api, ask, type Queue } from '../../api.ts';
import { formatCount } from '../format.ts';
import { Confirm } from '../parts/confirm.tsx';
import { Field, Segments } from '../parts/field.tsx';

export type QueueDialogProps = { queue: Queue; onClose(): void; onChange(): void };

type Format = 'jsonl' | 'text';

const EXAMPLES: Record<Format, string> = {
  jsonl: `{"messages": [{"role": "user", "content": "How do I reset my password?"}], "group": "account"}
{"prompt": "What is 2 + 2?", "a": "4", "b": "5", "expected": "a", "kind": "gold"}`,
  text: 'How do I reset my password?\nCancel my order, please.',
};

export function AddItems({ queue, onClose, onChange }: QueueDialogProps) {
  const [chosen, setChosen] = useState<Format | null>(null);
  const [text, setText] = useState('');
  const [file, setFile] = useState<File | null>(null);
  const format = chosen ?? (file ? findFileFormat(file) : findFormat(text));
  const lines = text.split('\n').filter((line) => line.trim() !== '').length;
  const add = async () => {
    const report = await ask(
      api.POST('/v1/queues/{id}/items', {
        params: { path: { id: queue.id }, query: { format } },
        // Sent as it is: a file is not read into the page.
        body: (file ?? text) as unknown as string,
        bodySerializer: (body: unknown) => body as BodyInit,
        headers: { 'content-type': 'application/jsonl' },
      }),
    );
    onChange();
    return report;
  };
  return (
    <Confirm
      title={`Add items to ${queue.name}`}
      action={file ? `Add the items of ${file.name}` : lines === 0 ? 'Add the items' : `Add ${formatCount(lines)}`}
      isWide
      run={add}
      onClose={onClose}
    >
      <div class="form">
        <Segments
          label="Format"
          value={format}
          options={[
            ['jsonl', 'JSONL'],
            ['text', 'A prompt on each line'],
          ]}
          onChange={(value) => setChosen(value)}
        />
        {!file && (
          <Field label="Items" hint="Prompts that the queue has already are left out.">
            <textarea
              class="code"
              rows={8}
              required
              placeholder={EXAMPLES[format]}
              value={text}
              onInput={(event) => setText(event.currentTarget.value)}
            />
          </Field>
        )}
        <Field label="Or a file">
          <input
            type="file"
            accept=".jsonl,.json,.txt"
            onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)}
          />
        </Field>
      </div>
    </Confirm>
  );
}

/** A prompt rarely begins as JSON does; where one does, the format can be chosen. */
function findFormat(text: string): Format {
  return /^\s*[{[]/.test(text) || text.trim() === '' ? 'jsonl' : 'text';
}

const findFileFormat = ({ name }: File): Format => (name.endsWith('.txt') ? 'text' : 'jsonl');
