// Traces of real processes, received as OTLP: requests, generations and votes of the API, and the stages of a round.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { requestRound } from '../shared/rounds/schedule.ts';
import { activatePolicy } from '../shared/store/registry.ts';
import { openEdgeProcesses } from '../testing/edge-processes.ts';
import type { Json } from '../testing/edge-server.ts';
import { OtlpReceiver, type ReceivedSpan } from '../testing/otlp-receiver.ts';
import { waitUntil } from '../testing/wait-until.ts';

const CLI = fileURLToPath(new URL('../cli.ts', import.meta.url));
const SECRET = 'Zanzibar';
const [SERVER, INTERNAL] = [2, 1];

const { home, connection, importTiny, start } = await openEdgeProcesses();
const policyId = await importTiny({ seed: 1 });
await activatePolicy(connection.db, policyId, 'test');
const receiver = await new OtlpReceiver().open();
const telemetry = {
  OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
  OTEL_BSP_SCHEDULE_DELAY: '100',
  OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
};
const server = await start(telemetry);

/** Sends a request and returns its response with the spans of its trace. */
async function trace(
  route: string,
  json: unknown,
  parent = makeParent(),
): Promise<{ body: Json; spans: ReceivedSpan[] }> {
  const response = await fetch(server.url + route, {
    method: 'POST',
    headers: { 'content-type': 'application/json', traceparent: `00-${parent.traceId}-${parent.spanId}-01` },
    body: JSON.stringify(json),
  });
  const text = await response.text();
  const ofTrace = () => receiver.spans.filter(({ traceId }) => traceId === parent.traceId);
  await waitUntil(() => ofTrace().some(({ kind }) => kind === SERVER));
  return { body: text.startsWith('{') ? JSON.parse(text) : text, spans: ofTrace() };
}

function makeParent() {
  const hex = (bytes: number) => Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString('hex');
  return { traceId: hex(16), spanId: hex(8) };
}

test('a request is a server span below the caller’s, and its generation a span below that', async () => {
  const parent = makeParent();
  const request = {
    messages: [{ role: 'user', content: SECRET }],
    max_tokens: 4,
    seed: 7,
    temperature: 0.5,
    top_p: 0.9,
  };
  for (const stream of [false, true]) {
    const { body, spans } = await trace('/v1/chat/completions', { ...request, stream }, stream ? makeParent() : parent);
    const root = spans.find(({ kind }) => kind === SERVER)!;
    assert.equal(root.name, 'POST /v1/chat/completions');
    assert.equal(root.service, 'attune-edge');
    assert.equal(root.attributes['http.route'], '/v1/chat/completions');
    assert.equal(root.attributes['http.request.method'], 'POST');
    assert.equal(root.attributes['http.response.status_code'], 200);
    const child = spans.find(({ kind }) => kind === INTERNAL)!;
    assert.equal(child.name, 'chat attune');
    assert.equal(child.parentSpanId, root.spanId);
    const { 'gen_ai.response.id': id, 'gen_ai.usage.output_tokens': tokens, ...rest } = child.attributes;
    assert.ok(Number(tokens) > 0);
    assert.deepEqual(rest, {
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'attune',
      'gen_ai.request.model': 'attune',
      'gen_ai.request.choice.count': 1,
      'gen_ai.request.temperature': 0.5,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.request.max_tokens': 4,
      'gen_ai.request.seed': 7,
      'gen_ai.response.model': policyId,
      'gen_ai.response.finish_reasons': rest['gen_ai.response.finish_reasons'],
      'gen_ai.usage.input_tokens': rest['gen_ai.usage.input_tokens'],
      'attune.generation.ids': [id],
    });
    if (stream) continue;
    assert.equal(root.parentSpanId, parent.spanId);
    assert.equal(id, body.id);
    assert.equal(rest['gen_ai.usage.input_tokens'], body.usage.prompt_tokens);
    assert.deepEqual(rest['gen_ai.response.finish_reasons'], [body.choices[0].finish_reason]);
  }
});

test('a vote has an evaluation of each response', async () => {
  const comparison = (await trace('/v1/comparisons', { prompt: SECRET, max_tokens: 4 })).body;
  const { body, spans } = await trace('/v1/preferences', { comparison: comparison.id, choice: 'b' });
  const toEvent = (label: string, value: number, id: string) => ({
    name: 'gen_ai.evaluation.result',
    attributes: {
      'gen_ai.evaluation.name': 'preference',
      'gen_ai.evaluation.score.value': value,
      'gen_ai.evaluation.score.label': label,
      'gen_ai.response.id': id,
    },
  });
  assert.deepEqual(
    spans[0]!.events.map(({ name, attributes }) => ({ name, attributes })),
    [toEvent('chosen', 1, body.chosen.generation), toEvent('rejected', 0, body.rejected.generation)],
  );
});

test('a caller that does not sample, and a rejected request', async () => {
  const { traceId, spanId } = makeParent();
  await fetch(`${server.url}/status`, { headers: { traceparent: `00-${traceId}-${spanId}-00` } });
  const { spans } = await trace('/v1/completions', { prompt: SECRET, model: 'pol_none' });
  assert.deepEqual(
    spans.map(({ attributes, status }) => [attributes['http.response.status_code'], status.code]),
    [[404, 0]],
  );
  assert.equal(receiver.spans.filter((span) => span.traceId === traceId).length, 0);
});

test('a round is a trace with a span of each stage, with its pairs, metrics and outcome', async () => {
  for (let at = 0; at < 40; at++)
    await trace('/v1/preferences', { prompt: `${SECRET} ${at}:`, chosen: ' yes yes', rejected: ' no no' });
  const { id } = await requestRound(connection.db, 'api', {});
  const child = spawn(process.execPath, [CLI, 'train', '--due'], {
    env: {
      ...process.env,
      ...telemetry,
      DATABASE_URL: connection.url,
      ATTUNE_HOME: home,
      ENGINE: 'onnx',
      TRAIN_THREADS: '1',
      TRAIN_MEMORY: String(2 ** 30),
    },
    stdio: 'ignore',
  });
  await new Promise((resolve) => child.once('close', resolve));
  const round = receiver.spans.find(({ attributes }) => attributes['attune.round.id'] === id)!;
  assert.equal(round.service, 'attune-trainer');
  assert.equal(round.attributes['attune.round.status'], 'succeeded');
  assert.ok(Number(round.attributes['attune.round.pairs']) > 20);
  assert.equal(typeof round.attributes['attune.round.metrics.rewards/accuracies'], 'number');
  const stages = receiver.spans.filter(({ parentSpanId }) => parentSpanId === round.spanId);
  assert.deepEqual(
    stages.slice(0, 4).map(({ attributes }) => attributes['attune.round.stage']),
    ['selecting', 'scoring', 'training', 'evaluating'],
  );
  const training = stages[2]!.attributes;
  assert.equal(training['attune.round.done'], training['attune.round.total']);
});

test('no span has what a user wrote', () => {
  assert.ok(receiver.spans.length > 5);
  assert.doesNotMatch(receiver.body, new RegExp(SECRET));
});
