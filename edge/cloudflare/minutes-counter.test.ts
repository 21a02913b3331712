import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PolicyMinutes } from '../canary/policy-minutes.ts';
import type { BackgroundMessage } from './background.ts';
import { FlushTurn } from './flush-turn.ts';
import { openWorkerMinutes } from './minutes-counter.ts';

test('after an outage of the queue what was counted is sent in messages that fit, and nothing twice', async () => {
  const sent: BackgroundMessage[] = [];
  let left = 0;
  const queue = {
    async send(message: BackgroundMessage) {
      if (left-- === 0) throw new Error('the queue is away');
      sent.push(message);
      return {} as never;
    },
  };
  const work: Promise<unknown>[] = [];
  const minutes = new PolicyMinutes();
  const waitUntil = (promise: Promise<unknown>) => void work.push(promise);
  const counter = openWorkerMinutes({ minutes, turn: new FlushTurn(), queue, waitUntil });
  for (let at = 0; at < 250; at++) minutes.add(`pol_${at}`, { requests: 1 });
  left = 1;
  counter.countLoadFailure('pol_0');
  await Promise.all(work);
  left = 10;
  counter.countLoadFailure('pol_249');
  await Promise.all(work);
  const batches = sent.map((message) => (message.kind === 'policy_minutes' ? message.rows : []));
  assert.deepEqual(
    batches.map((rows) => rows.length),
    [100, 100, 50],
  );
  assert.equal(new Set(batches.flat().map(({ policy_id }) => policy_id)).size, 250);
});
