import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildConfig, buildGenerationConfig, parseArchitecture, weightShapes } from './architecture.ts';
import { tinyArchitecture } from './tiny.ts';

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  vocab_size: 49152,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  rope_scaling: null,
  rope_interleaved: false,
  hidden_act: 'silu',
  attention_bias: false,
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 0,
};

test('the config of a small Llama becomes an architecture', () => {
  assert.deepEqual(parseArchitecture(config), {
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

test('generation_config has the last word on the tokens that end a response', () => {
  assert.deepEqual(parseArchitecture(config, { eos_token_id: [1, 2] }).eos, [1, 2]);
  assert.deepEqual(parseArchitecture({ ...config, eos_token_id: null }).eos, []);
});

test('what other exporters leave out or add is understood', () => {
  const { num_key_value_heads: _, ...multiHead } = config;
  assert.equal(parseArchitecture(multiHead).kvHeads, 9);
  assert.equal(parseArchitecture({ ...config, head_dim: 32 }).headDim, 32);
  const newer = { ...config, rope_theta: undefined, rope_parameters: { rope_type: 'default', rope_theta: 5e5 } };
  assert.equal(parseArchitecture(newer).ropeTheta, 5e5);
});

test('every other mathematics is refused by name', () => {
  const cases: [object, RegExp][] = [
    [{ model_type: 'qwen2' }, /model_type is "qwen2"; Attune serves llama only/],
    [{ model_type: undefined }, /model_type is missing/],
    [{ architectures: ['LlamaForSequenceClassification'] }, /architectures is \["LlamaForSequenceClassification"\]/],
    [{ rope_scaling: { rope_type: 'llama3', factor: 32 } }, /rope_scaling is .*llama3/],
    [{ rope_scaling: { factor: 2 } }, /rope_scaling is/],
    [{ rope_parameters: { rope_type: 'yarn' } }, /rope_scaling is .*yarn/],
    [{ attention_bias: true }, /attention_bias is true/],
    [{ mlp_bias: true }, /mlp_bias is true/],
    [{ hidden_act: 'gelu' }, /hidden_act is "gelu"; Attune serves "silu" only/],
    [{ quantization_config: { bits: 4 } }, /quantization_config is/],
    [{ head_dim: 63 }, /head size is 63/],
    [{ num_attention_heads: 7 }, /no multiple|head size/],
    [{ num_key_value_heads: 2 }, /num_attention_heads 9 is no multiple of num_key_value_heads 2/],
    [{ eos_token_id: 49152 }, /special token 49152 is outside vocab_size 49152/],
  ];
  for (const [change, message] of cases) assert.throws(() => parseArchitecture({ ...config, ...change }), message);
});

test('missing and wrong fields are named together', () => {
  const { hidden_size: _, vocab_size: __, ...rest } = config;
  assert.throws(
    () => parseArchitecture({ ...rest, num_hidden_layers: '30' }),
    /config\.json: hidden_size is missing, num_hidden_layers: .*, vocab_size is missing/,
  );
  assert.throws(() => parseArchitecture([]), /config\.json/);
  assert.throws(() => parseArchitecture(null), /no JSON object/);
});

test('the shapes follow grouped heads and an own head size, and the head is there only when untied', () => {
  const shapes = weightShapes(tinyArchitecture({ headDim: 10, tied: false }));
  assert.deepEqual(shapes.get('model.layers.1.self_attn.q_proj.weight'), [40, 32]);
  assert.deepEqual(shapes.get('model.layers.1.self_attn.k_proj.weight'), [20, 32]);
  assert.deepEqual(shapes.get('model.layers.1.self_attn.o_proj.weight'), [32, 40]);
  assert.equal([...shapes.keys()].at(-1), 'lm_head.weight');
  assert.equal(shapes.size, 2 * 9 + 3);
  assert(!weightShapes(tinyArchitecture()).has('lm_head.weight'));
});

test('a written config reads back as the same architecture', () => {
  for (const architecture of [tinyArchitecture(), { ...tinyArchitecture({ headDim: 10 }), bos: null, eos: [1, 2] }]) {
    assert.deepEqual(parseArchitecture(buildConfig(architecture), buildGenerationConfig(architecture)), architecture);
  }
});
