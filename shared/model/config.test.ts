import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GOLDEN_CASES } from '../../testing/golden.ts';
import {
  smollm2 as config,
  gemma2b,
  gpt2,
  llama32Scaling,
  mistral7b,
  pythia70m,
  qwen3,
  qwen25,
} from '../../testing/published-configs.ts';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import { type Architecture, LLAMA } from './architecture.ts';
import { parseConfig, toConfig, toGenerationConfig } from './config.ts';

test('parses the config of a small Llama', () => {
  assert.deepEqual(parseConfig(config), {
    ...LLAMA,
    hiddenSize: 576,
    intermediateSize: 1536,
    layers: 30,
    heads: 9,
    kvHeads: 3,
    headDim: 64,
    vocabSize: 49152,
    contextLength: 2048,
    normEpsilon: 1e-5,
    ropeTheta: 10000,
    tied: true,
    bos: 0,
    eos: [0],
  });
});

const NONE = { qkv: false, output: false, mlp: false };
const ALL = { qkv: true, output: true, mlp: true };
const PUBLISHED: [string, object, Partial<Architecture>][] = [
  ['Mistral 7B', mistral7b, { family: 'mistral', headDim: 128, kvHeads: 8, contextLength: 4096, biases: NONE }],
  ['Qwen2.5 0.5B', qwen25, { biases: { ...NONE, qkv: true }, headDim: 64, contextLength: 32768, ropeTheta: 1e6 }],
  ['Qwen3 0.6B', qwen3, { queryKeyNorm: true, headDim: 128, biases: NONE, contextLength: 40960, tied: true }],
  [
    'GPT-2',
    gpt2,
    {
      norm: 'layer',
      activation: 'gelu_tanh',
      gated: false,
      biases: ALL,
      positions: 'learned',
      intermediateSize: 3072,
      kvHeads: 12,
      headDim: 64,
      contextLength: 1024,
      tied: true,
      eos: [50256],
    },
  ],
  [
    'Pythia 70M',
    pythia70m,
    {
      norm: 'layer',
      activation: 'gelu',
      gated: false,
      biases: ALL,
      parallelResidual: true,
      rotaryShare: 0.25,
      ropeTheta: 10000,
      tied: false,
    },
  ],
  ['Gemma 2B', gemma2b, { activation: 'gelu_tanh', gated: true, embeddingScale: Math.sqrt(2048), tied: true }],
  [
    'Llama 3.2 1B',
    { ...config, rope_theta: 500000, rope_scaling: llama32Scaling },
    {
      ropeTheta: 500000,
      ropeScaling: { type: 'llama3', factor: 32, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 8192 },
    },
  ],
];

for (const [name, published, expected] of PUBLISHED) {
  test(`parses the config of ${name}`, () => {
    const parsed = parseConfig(published);
    for (const [field, value] of Object.entries(expected))
      assert.deepEqual(parsed[field as keyof Architecture], value, field);
    assert.deepEqual(parseConfig(toConfig(parsed)), parsed);
  });
}

test('eos_token_id of generation_config.json takes precedence', () => {
  assert.deepEqual(parseConfig(config, { eos_token_id: [1, 2] }).eos, [1, 2]);
  assert.deepEqual(parseConfig({ ...config, eos_token_id: null }).eos, []);
});

test('accepts fields that other exporters omit or add', () => {
  const { num_key_value_heads: _, ...multiHead } = config;
  assert.equal(parseConfig(multiHead).kvHeads, 9);
  assert.equal(parseConfig({ ...config, head_dim: 32 }).headDim, 32);
  assert.deepEqual(parseConfig({ ...config, attention_bias: true }).biases, { ...ALL, mlp: false });
  assert.deepEqual(parseConfig({ ...config, mlp_bias: true }).biases, { ...NONE, mlp: true });
  assert.equal(parseConfig({ ...gpt2, n_inner: null }).intermediateSize, 3072);
  assert.equal(parseConfig({ ...gpt2, n_inner: 100 }).intermediateSize, 100);
  assert.equal(parseConfig({ ...gpt2, tie_word_embeddings: false }).tied, false);
  assert.equal(parseConfig({ ...pythia70m, use_parallel_residual: false }).parallelResidual, false);
  assert.deepEqual(parseConfig({ ...pythia70m, attention_bias: false }).biases, { ...NONE, mlp: true });
});

test('parses rope_parameters of newer exporters', () => {
  const newer = (rope: object, of: object = config) =>
    parseConfig({ ...of, rope_theta: undefined, rope_scaling: undefined, rope_parameters: rope });
  assert.equal(newer({ rope_type: 'default', rope_theta: 5e5 }).ropeTheta, 5e5);
  assert.deepEqual(newer({ ...llama32Scaling, rope_theta: 5e5 }), parseConfig(PUBLISHED.at(-1)![1]));
  assert.deepEqual(newer({ rope_type: 'linear', factor: 2, rope_theta: 1e4 }).ropeScaling, {
    type: 'linear',
    factor: 2,
  });
  const { rotary_pct: _, rotary_emb_base: __, ...neox } = pythia70m;
  const pythia = newer({ rope_type: 'default', rope_theta: 10000, partial_rotary_factor: 0.25 }, neox);
  assert.deepEqual(pythia, parseConfig(pythia70m));
});

test('a sliding window limits the context length', () => {
  const read = (change: object) => parseConfig({ ...mistral7b, ...change }).contextLength;
  assert.equal(read({ sliding_window: null }), 32768);
  assert.equal(read({ sliding_window: 65536 }), 32768);
  assert.equal(parseConfig({ ...qwen25, use_sliding_window: true }).contextLength, 16384);
});

test('rejects unsupported architectures and names the field', () => {
  const cases: [object, RegExp][] = [
    [
      { model_type: 'gemma2' },
      /model_type is "gemma2"; Attune supports only llama, mistral, qwen2, qwen3, gpt2, gpt_neox, gemma$/,
    ],
    [{ model_type: undefined }, /model_type is missing/],
    [{ architectures: ['LlamaForSequenceClassification'] }, /architectures is \["LlamaForSequenceClassification"\]/],
    [{ model_type: 'qwen2' }, /architectures is \["LlamaForCausalLM"\]; for model_type qwen2 .* only Qwen2ForCausalLM/],
    [{ rope_scaling: { rope_type: 'yarn', factor: 32 } }, /rope_scaling is .*yarn.*default, linear .* llama3/],
    [{ rope_scaling: { rope_type: 'llama3', factor: 32 } }, /rope_scaling is .*llama3/],
    [{ rope_scaling: { factor: 2 } }, /rope_scaling is/],
    [{ rope_parameters: { rope_type: 'longrope' } }, /rope_scaling is .*longrope/],
    [{ partial_rotary_factor: 0.5 }, /partial_rotary_factor is 0.5/],
    [{ hidden_act: 'relu' }, /hidden_act is "relu"; Attune supports only silu, .*gelu/],
    [{ quantization_config: { bits: 4 } }, /quantization_config is/],
    [{ sliding_window: 512 }, /sliding_window is 512/],
    [{ head_dim: 63 }, /head size is 63/],
    [{ num_attention_heads: 7 }, /not a multiple|head size/],
    [{ num_key_value_heads: 2 }, /num_attention_heads 9 is not a multiple of num_key_value_heads 2/],
    [{ eos_token_id: 49152 }, /special token 49152 is outside vocab_size 49152/],
  ];
  for (const [change, message] of cases) assert.throws(() => parseConfig({ ...config, ...change }), message);
  const others: [object, RegExp][] = [
    [{ ...mistral7b, mlp_bias: true }, /mlp_bias is true; Attune supports only false/],
    [{ ...gpt2, scale_attn_by_inverse_layer_idx: true }, /scale_attn_by_inverse_layer_idx is true/],
    [{ ...gpt2, add_cross_attention: true }, /add_cross_attention is true/],
    [{ ...gpt2, activation_function: 'relu' }, /activation_function is "relu"/],
    [{ ...gpt2, n_head: 5 }, /head size is 153.6/],
    [{ ...pythia70m, rotary_pct: 0.4 }, /head size is 64, of which 25 dimensions rotate/],
    [{ ...gemma2b, hidden_activation: 'silu' }, /hidden_activation is "silu"/],
    [{ ...gemma2b, use_bidirectional_attention: true }, /use_bidirectional_attention is true/],
  ];
  for (const [wrong, message] of others) assert.throws(() => parseConfig(wrong), message);
});

test('reports missing and invalid fields together', () => {
  const { hidden_size: _, vocab_size: __, ...rest } = config;
  assert.throws(
    () => parseConfig({ ...rest, num_hidden_layers: '30' }),
    /config\.json: hidden_size is missing, num_hidden_layers: .*, vocab_size is missing/,
  );
  assert.throws(() => parseConfig([]), /config\.json/);
  assert.throws(() => parseConfig(null), /not a JSON object/);
});

test('a reward has its own class, and is never read as a policy, nor a policy as a reward', () => {
  for (const options of Object.values(GOLDEN_CASES)) {
    const policy = tinyArchitecture(options);
    const reward = { ...policy, output: 'reward' as const };
    const [own] = toConfig(reward).architectures as string[];
    assert.match(own!, /ForSequenceClassification$/);
    assert.deepEqual(parseConfig(toConfig(reward), toGenerationConfig(reward), 'reward'), reward);
    assert.throws(() => parseConfig(toConfig(reward)), { code: 'unsupported_architecture', message: new RegExp(own!) });
    assert.throws(() => parseConfig(toConfig(policy), undefined, 'reward'), { code: 'unsupported_architecture' });
  }
});

test('toConfig and parseConfig are inverses', () => {
  for (const architecture of [tinyArchitecture(), { ...tinyArchitecture({ headDim: 10 }), bos: null, eos: [1, 2] }]) {
    assert.deepEqual(parseConfig(toConfig(architecture), toGenerationConfig(architecture)), architecture);
  }
});
