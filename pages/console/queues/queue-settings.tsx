// What a queue asks of its raters, in words.

import type { Queue } from '../../api.ts';
import { Markdown } from '../../markdown/markdown.tsx';
import { formatPercent, formatTime } from '../format.ts';
import { Panel } from '../parts/page.tsx';

export function QueueSettings({ queue: { settings, guidelines }, edit }: { queue: Queue; edit: (() => void) | null }) {
  const { pairing, reviews, tags, skills, strength, edits, reveal, gold_share, max_tokens, temperature } = settings;
  const { deadline, calibration } = settings;
  const words: [string, string][] = [
    ['Compared', describePairing(pairing)],
    ['Reviews', `${reviews} for each item`],
    ['Strength', strength],
    ['Reasons', tags.join(', ') || 'none'],
    ['Skills', skills.join(', ') || 'everybody may rate'],
    ['Gold', formatPercent(gold_share ?? 0)],
    ['Sampling', `temperature ${temperature}, at most ${max_tokens} tokens`],
    ...(deadline === null ? [] : [['Deadline', formatTime(Date.parse(deadline) / 1000)] as [string, string]]),
    ...(calibration.items === 0 ? [] : [['Calibration', `${calibration.items} items first`] as [string, string]]),
    [
      'Raters may',
      [edits && 'improve responses', reveal && 'see the policies after a vote'].filter(Boolean).join(', ') || '–',
    ],
  ];
  return (
    <Panel
      title="Settings"
      actions={
        edit && (
          <button type="button" class="small" onClick={edit}>
            Edit
          </button>
        )
      }
    >
      <dl class="lines settings">
        {words.map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {guidelines.text !== '' && (
        <details class="guidelines">
          <summary>{`Guidelines, version ${guidelines.version}`}</summary>
          <Markdown text={guidelines.text} />
        </details>
      )}
    </Panel>
  );
}

function describePairing(pairing: Queue['settings']['pairing']): string {
  if (pairing.type === 'policies') return 'two policies';
  if (pairing.type === 'canary') return 'a canary’s candidate and the active policy';
  const policy = ('policy' in pairing && pairing.policy) || 'the active policy';
  return pairing.type === 'given' ? `the given response, and one of ${policy}` : `two responses of ${policy}`;
}
