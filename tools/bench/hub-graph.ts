// The graph that transformers.js users get from Hugging Face's hub: fused norms, one product for q, k and v,
// GroupQueryAttention with rotary embedding, logits of the last position only. It is faster than model.onnx of Attune's
// packages, and the benchmark compares with the fastest available graph.
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Architecture } from '../../shared/model/architecture.ts';
import { concatRows, transpose } from '../../shared/model/matrix.ts';
import { rotaryTables } from '../../shared/model/rotary.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { ExternalDataFile } from '../../shared/onnx/external-data.ts';
import { GraphBuilder } from '../../shared/onnx/graph-builder.ts';
import { type ValueInfo, writeOnnxModel } from '../../shared/onnx/model-proto.ts';

const DATA_FILE = 'model.onnx_data';

/** Writes model.onnx and model.onnx_data at float32. */
export async function writeHubGraph(folder: string, a: Architecture, weights: Weights): Promise<void> {
  const file = await ExternalDataFile.create(path.join(folder, DATA_FILE), DATA_FILE);
  try {
    await writeWeights(file, a, weights);
  } finally {
    await file.close();
  }
  await writeFile(path.join(folder, 'model.onnx'), buildGraph(a, file.initializers));
}

async function writeWeights(file: ExternalDataFile, a: Architecture, weights: Weights): Promise<void> {
  const getTensor = (name: string) => weights.get(`${name}.weight`)!;
  /** Concatenates weights [out, in] and transposes them to [in, sum of out], the layout of MatMul. */
  const writeLinear = (name: string, from: string[]) => {
    const { shape, data } = concatRows(from.map(getTensor));
    const [out, into] = shape as [number, number];
    return file.write(name, 'float32', [into, out], transpose(data, out, into));
  };
  const writeTensor = (name: string, from: string) =>
    file.write(name, 'float32', getTensor(from).shape, getTensor(from).data);

  await writeTensor('embed', 'model.embed_tokens');
  for (let layer = 0; layer < a.layers; layer++) {
    const from = `model.layers.${layer}`;
    await writeTensor(`${layer}.attention_norm`, `${from}.input_layernorm`);
    await writeTensor(`${layer}.mlp_norm`, `${from}.post_attention_layernorm`);
    await writeLinear(
      `${layer}.qkv`,
      ['q', 'k', 'v'].map((kind) => `${from}.self_attn.${kind}_proj`),
    );
    await writeLinear(`${layer}.o`, [`${from}.self_attn.o_proj`]);
    for (const kind of ['gate', 'up', 'down']) await writeLinear(`${layer}.${kind}`, [`${from}.mlp.${kind}_proj`]);
  }
  await writeTensor('norm', 'model.norm');
  // A tied table is written a second time for the output layer: the quantizer handles only constants of MatMul.
  await writeLinear('head', [a.tied ? 'model.embed_tokens' : 'lm_head']);
  for (const [name, table] of Object.entries(rotaryTables(a, a.contextLength)))
    await file.write(name, 'float32', [a.contextLength, a.headDim / 2], table);
}

function buildGraph(a: Architecture, weights: ExternalDataFile['initializers']): Uint8Array {
  const g = new GraphBuilder(weights);
  const linear = (x: string, name: string) => g.add('MatMul', [x, g.weight(name)]);
  const epsilon = { float: a.normEpsilon };

  const lengths = g.add('ReduceSum', ['attention_mask', g.intVector([1])], { attributes: { keepdims: 0 } });
  const lastIndex = g.add('Cast', [g.add('Sub', [lengths, g.intScalar(1)])], { attributes: { to: 6 } });
  const total = g.add('Cast', [g.dim('attention_mask', 1)], { attributes: { to: 6 } });

  let residual = g.add('Gather', [g.weight('embed'), 'input_ids']);
  let pending: string | null = null;
  function norm(weight: string): string {
    if (pending === null) {
      const attributes = { axis: -1, epsilon, stash_type: 1 };
      return g.add('SimplifiedLayerNormalization', [residual, g.weight(weight)], { attributes });
    }
    const sum = `${weight}.residual`;
    const normed = g.addContrib('SkipSimplifiedLayerNormalization', [residual, pending, g.weight(weight)], {
      attributes: { epsilon },
      outputs: [`${weight}.normed`, '', '', sum],
    });
    residual = sum;
    return normed;
  }

  for (let layer = 0; layer < a.layers; layer++) {
    const past = ['key', 'value'].map((kind) => `past_key_values.${layer}.${kind}`);
    const inputs = [linear(norm(`${layer}.attention_norm`), `${layer}.qkv`), '', '', ...past, lastIndex, total];
    const attended = g.addContrib('GroupQueryAttention', [...inputs, g.weight('cos'), g.weight('sin')], {
      attributes: {
        num_heads: a.heads,
        kv_num_heads: a.kvHeads,
        do_rotary: 1,
        rotary_interleaved: 0,
        scale: { float: a.headDim ** -0.5 },
      },
      outputs: [`${layer}.attended`, `present.${layer}.key`, `present.${layer}.value`],
    });
    pending = linear(attended, `${layer}.o`);
    const hidden = norm(`${layer}.mlp_norm`);
    const gate = linear(hidden, `${layer}.gate`);
    const silu = g.add('Mul', [gate, g.add('Sigmoid', [gate])]);
    pending = linear(g.add('Mul', [silu, linear(hidden, `${layer}.up`)]), `${layer}.down`);
  }
  // num_logits_to_keep is 1 while generating and 0 for all logits: a slice from −0 is the whole tensor.
  const from = g.add('Unsqueeze', [g.add('Neg', ['num_logits_to_keep']), g.intVector([0])]);
  const kept = g.add('Slice', [norm('norm'), from, g.intVector([Number.MAX_SAFE_INTEGER]), g.intVector([1])]);
  g.add('MatMul', [kept, g.weight('head')], { outputs: ['logits'] });
  return writeOnnxModel(g.finish(...graphInputsOutputs(a)));
}

function graphInputsOutputs(a: Architecture): [ValueInfo[], ValueInfo[]] {
  const inputs: ValueInfo[] = [
    { name: 'input_ids', type: 'int64', dims: ['batch_size', 'sequence_length'] },
    { name: 'attention_mask', type: 'int64', dims: ['batch_size', 'total_sequence_length'] },
    { name: 'num_logits_to_keep', type: 'int64', dims: [] },
  ];
  const outputs: ValueInfo[] = [{ name: 'logits', type: 'float32', dims: ['batch_size', 'kept', a.vocabSize] }];
  for (let layer = 0; layer < a.layers; layer++) {
    for (const kind of ['key', 'value']) {
      const dims = (length: string) => ['batch_size', a.kvHeads, length, a.headDim];
      inputs.push({ name: `past_key_values.${layer}.${kind}`, type: 'float32', dims: dims('past_sequence_length') });
      outputs.push({ name: `present.${layer}.${kind}`, type: 'float32', dims: dims('total_sequence_length') });
    }
  }
  return [inputs, outputs];
}
