import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tinyArchitecture } from '../../testing/tiny-checkpoint.ts';
import { weightShapes } from './architecture.ts';

test('shapes follow grouped heads and head_dim; lm_head exists only when untied', () => {
  const shapes = weightShapes(tinyArchitecture({ headDim: 10, tied: false }));
  assert.deepEqual(shapes.get('model.layers.1.self_attn.q_proj.weight'), [40, 32]);
  assert.deepEqual(shapes.get('model.layers.1.self_attn.k_proj.weight'), [20, 32]);
  assert.deepEqual(shapes.get('model.layers.1.self_attn.o_proj.weight'), [32, 40]);
  assert.equal([...shapes.keys()].at(-1), 'lm_head.weight');
  assert.equal(shapes.size, 2 * 9 + 3);
  assert(!weightShapes(tinyArchitecture()).has('lm_head.weight'));
});

test('biases, head norms and learned positions exist only if the architecture has them', () => {
  const namesOf = (family: 'qwen2' | 'qwen3' | 'gpt2') =>
    Array.from(weightShapes(tinyArchitecture({ family })), ([name, shape]) => `${name} ${shape}`);
  const beyondLlama = (family: 'qwen2' | 'qwen3' | 'gpt2') => {
    const plain = new Set(Array.from(weightShapes(tinyArchitecture()), ([name, shape]) => `${name} ${shape}`));
    return namesOf(family).filter((name) => !plain.has(name) && !name.includes('layers.1'));
  };
  const layer = 'model.layers.0';
  assert.deepEqual(beyondLlama('qwen2'), [
    `${layer}.self_attn.q_proj.bias 32`,
    `${layer}.self_attn.k_proj.bias 16`,
    `${layer}.self_attn.v_proj.bias 16`,
  ]);
  assert.deepEqual(beyondLlama('qwen3'), [`${layer}.self_attn.q_norm.weight 8`, `${layer}.self_attn.k_norm.weight 8`]);
  assert.deepEqual(beyondLlama('gpt2'), [
    'model.embed_positions.weight 128,32',
    `${layer}.input_layernorm.bias 32`,
    `${layer}.self_attn.q_proj.bias 32`,
    `${layer}.self_attn.k_proj.weight 32,32`,
    `${layer}.self_attn.k_proj.bias 32`,
    `${layer}.self_attn.v_proj.weight 32,32`,
    `${layer}.self_attn.v_proj.bias 32`,
    `${layer}.self_attn.o_proj.bias 32`,
    `${layer}.post_attention_layernorm.bias 32`,
    `${layer}.mlp.up_proj.bias 64`,
    `${layer}.mlp.down_proj.bias 32`,
    'model.norm.bias 32',
  ]);
  assert.ok(!namesOf('gpt2').some((name) => name.includes('gate_proj')));
});
