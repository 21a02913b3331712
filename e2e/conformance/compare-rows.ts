// Rows stored by one runtime are returned unchanged by another, and idempotency keys are valid on both.

import assert from 'node:assert/strict';
import { type Api, KEYS } from './api.ts';
import { LISTS } from './pagination.ts';

export async function assertSameRows(one: Api, other: Api): Promise<void> {
  const getTexts = async (path: string) => {
    const responses = await Promise.all([one, other].map((api) => api.request(path)));
    for (const { status, text } of responses) assert.equal(status, 200, text);
    return responses.map(({ text }) => text);
  };
  for (const list of LISTS) {
    const [text, others] = await getTexts(`/v1/${list}?limit=100`);
    assert.equal(others, text);
    const { data } = JSON.parse(text!);
    for (const { id } of data.slice(0, 3)) {
      const [row, others] = await getTexts(`/v1/${list}/${id}`);
      assert.equal(others, row);
    }
  }
  for (const path of ['/v1/models', '/v1/preferences/stats', '/v1/preferences/export?format=trl']) {
    const [text, others] = await getTexts(path);
    assert.equal(others, text);
  }

  const headers = { 'idempotency-key': 'on every runtime', authorization: `Bearer ${KEYS[0]}` };
  const responses = [];
  for (const api of [one, other, one]) {
    const json = { prompt: 'Once', max_tokens: 2 };
    responses.push((await api.request('/v1/comparisons', { json, headers })).body);
  }
  for (const response of responses) assert.deepEqual(response, responses[0]);
}
