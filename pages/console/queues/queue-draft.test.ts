import assert from 'node:assert/strict';
import { test } from 'node:test';
import { queueSettingsSchema } from '../../../shared/queue-settings.ts';
import { findChanges, NEW_QUEUE, toBody, toDraft } from './queue-draft.ts';

test('a new queue has the defaults of the API', () => {
  const { name, guidelines, ...settings } = toBody(NEW_QUEUE);
  assert.deepEqual([name, guidelines], ['', '']);
  assert.deepEqual({ ...settings, raters: [] }, queueSettingsSchema.parse({}));
});

test('a queue comes back from its form as it was, and a change sends what differs only', () => {
  const settings = queueSettingsSchema.parse({
    pairing: { type: 'given', policy: 'pol_1' },
    gold_share: 0.07,
    reservation_seconds: 90,
    tags: ['right', 'clear'],
    deadline: '2026-12-01T12:00:00Z',
    raters: ['rater_1'],
  });
  const draft = toDraft({ name: 'Answers', guidelines: { version: 2, text: 'Be fair' }, settings });
  const { name, guidelines, ...same } = toBody(draft);
  const { raters: _, ...withoutRaters } = settings;
  assert.deepEqual([name, guidelines], ['Answers', 'Be fair']);
  assert.deepEqual(
    { ...same, deadline: Date.parse(same.deadline!) },
    { ...withoutRaters, deadline: Date.parse(settings.deadline!) },
  );
  assert.deepEqual(findChanges(draft, draft), {});
  assert.deepEqual(findChanges(draft, { ...draft, reviews: 3, tags: 'right', deadline: '' }), {
    reviews: 3,
    tags: ['right'],
    deadline: null,
  });
});
