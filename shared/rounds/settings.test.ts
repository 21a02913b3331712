import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hyperparametersSchema } from '../hyperparameters.ts';
import { readSettings } from '../settings.ts';
import {
  completeRoundSettings,
  listMethodSettings,
  parseRoundRequest,
  type RoundRequest,
  type RoundSettings,
  roundMethod,
} from './settings.ts';

const accepts = (dil: unknown) => roundMethod.safeParse({ type: 'dil', dil }).success;

test('the defaults of the settings complete an empty request', () => {
  const config = completeRoundSettings({}, readSettings({}));
  assert.deepEqual(Object.keys(config), Object.keys(hyperparametersSchema.shape));
  const { epochs, lora_alpha, max_length, max_staleness, learning_rate } = config;
  assert.deepEqual([epochs, lora_alpha, max_length, max_staleness, learning_rate], [1, 0, null, null, 2e-5]);
});

test('a request overrides the settings, and beta, epochs and lora_alpha are derived from what is set', () => {
  const settings = readSettings({ EFFORT: '2.4', MAX_LENGTH: '50', LORA_TARGETS: 'q_proj, v_proj', BETA: '0.5' });
  const config = completeRoundSettings({ lora_rank: 8, max_length: null, beta: 1 }, settings);
  const { epochs, lora_alpha, lora_targets, max_length, beta } = config;
  assert.deepEqual([epochs, lora_alpha, lora_targets, max_length, beta], [2, 16, ['q_proj', 'v_proj'], null, 1]);
  assert.equal(completeRoundSettings({ effort: 5 }, readSettings({ EPOCHS: '3' })).epochs, 3);
  const betaOf = (request: RoundRequest) => completeRoundSettings(request, readSettings({})).beta;
  assert.deepEqual([betaOf({ reduction: 'mean' }), betaOf({ reduction: 'sum' })], [1, 0.1]);
  assert.equal(betaOf({ objective: 'distill', reduction: 'sum' }), 0.1);
});

test('a request has the bounds of the settings, and rejects numbers as text, null and custom objectives', () => {
  for (const dil of [{}, { epochs: 100 }, { lora_rank: 1024, lora_targets: ['q_proj'] }, { objective: 'dpo' }])
    assert.ok(accepts(dil), JSON.stringify(dil));
  for (const dil of [
    { epochs: 101 },
    { lora_rank: 1025 },
    { lora_targets: [] },
    { effort: 0 },
    { beta: '1' },
    { max_length: null },
    { objective: './my-h.ts' },
    { foo: 1 },
  ])
    assert.ok(!accepts(dil), JSON.stringify(dil));
  assert.throws(() => readSettings({ EPOCHS: '101' }), /^AttuneError: settings: EPOCHS: /);
  assert.throws(() => readSettings({ LORA_TARGETS: 'q' }), /^AttuneError: settings: LORA_TARGETS: /);
  assert.equal(readSettings({ OBJECTIVE: './my-h.ts' }).OBJECTIVE, './my-h.ts');
});

test('the settings of a row are accepted before and after they are completed, and anything else is rejected by name', () => {
  const parse = (settings: unknown) => parseRoundRequest({ id: 'round_1', settings });
  const complete = completeRoundSettings({}, readSettings({ OBJECTIVE: './my-h.ts' }));
  for (const settings of [{}, { epochs: 3 }, complete]) assert.deepEqual(parse(settings), settings);
  for (const [settings, problem] of [
    [{ learning_rate: 'fast' }, /^round_1: its settings are invalid \(learning_rate: .*\); request another round$/],
    [{ epochs: 0, beta: -1 }, /beta: .*; epochs: /],
    [{ learning_rates: 1 }, /learning_rates/],
    ['{}', /expected object/],
    [null, /expected object/],
  ] as const)
    assert.throws(() => parse(settings), { code: 'invalid_settings', message: problem });
});

test('the preset of the paper sets what is not set itself, in the environment and in a request', () => {
  const fromEnvironment = completeRoundSettings({}, readSettings({ PRESET: 'paper', NEGATIVES: 'both' }));
  assert.deepEqual(
    [fromEnvironment.preset, fromEnvironment.objective, fromEnvironment.reduction, fromEnvironment.negatives],
    ['paper', 'lsif', 'mean', 'both'],
  );
  const settings = readSettings({ OBJECTIVE: 'dpo', REDUCTION: 'sum', BATCH_PAIRS: '4' });
  const requested = completeRoundSettings({ preset: 'paper', reduction: 'sum' }, settings);
  assert.deepEqual(
    [requested.objective, requested.reduction, requested.reference, requested.batch_pairs],
    ['lsif', 'sum', 'root', 4],
  );
  const defaults = completeRoundSettings({}, readSettings({}));
  assert.deepEqual(completeRoundSettings({ preset: 'default' }, readSettings({ PRESET: 'paper' })), defaults);
  const loss = ({ objective, reduction, beta }: RoundSettings) => [objective, reduction, beta];
  assert.deepEqual(loss(completeRoundSettings({ preset: 'paper' }, readSettings({}))), ['lsif', 'mean', 1]);
  assert.deepEqual(loss(defaults), ['bce', 'sum', 0.1]);
  assert.throws(() => readSettings({ PRESET: 'papers' }), /^AttuneError: settings: PRESET: /);
});

test('a round of each method takes and stores its own settings', () => {
  const complete = completeRoundSettings({}, readSettings({}));
  const [policy, reward] = (['dil', 'reward'] as const).map((method) => listMethodSettings(method, complete));
  assert.ok(policy?.gate_kl !== undefined && policy.reward_loss === undefined);
  assert.ok(reward?.gate_kl === undefined && reward?.reward_loss === 'bradley_terry');
  assert.deepEqual(parseRoundRequest({ id: 'round_1', settings: reward }), reward);
  assert.ok(roundMethod.safeParse({ type: 'reward', reward: { reward_loss: 'density_ratio' } }).success);
  assert.ok(!roundMethod.safeParse({ type: 'reward', reward: { objective: 'lsif' } }).success);
  assert.ok(!roundMethod.safeParse({ type: 'dil', dil: { reward_loss: 'density_ratio' } }).success);
});

test('distillation sums log-ratios whatever the trainer’s own setting, unless the request says otherwise', () => {
  const settings = readSettings({ REDUCTION: 'mean', NEGATIVES: 'both' });
  const { reduction, negatives } = completeRoundSettings({ objective: 'distill' }, settings);
  assert.deepEqual([reduction, negatives], ['sum', 'rejected']);
  assert.equal(completeRoundSettings({ objective: 'distill', reduction: 'mean' }, settings).reduction, 'mean');
});
