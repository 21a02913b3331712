// A policy's weights in a basis in which activations have no outliers, for precisions that quantize them by the row. The
// function is the same: the residual stream is x R instead of x, the values of a layer are v R₂, and the input of the
// feed-forward's second matrix is h H (QuaRot, arXiv 2404.00456; SpinQuant, arXiv 2405.16406). Norms commute with R once
// their gains are folded into the matrices that follow, and LayerNorm once its mean is taken from what is written to the
// residual stream. H is not folded anywhere: the graph multiplies by it.
import type { Architecture } from './architecture.ts';
import { scaleColumns, scaleRows, subtractRowMeans, transpose } from './matrix.ts';
import {
  createHadamard,
  createRotation,
  hadamardMatrix,
  largestPowerOfTwo,
  type Rotation,
  rotateRows,
} from './rotation.ts';
import { balanceFeedForward } from './smoothing.ts';
import { type LazyTensor, type LazyWeights, readTensor } from './tensor.ts';

/** The names of the tensors that only rotated weights have. They have no norms of the residual stream. */
export const ROTATED = {
  /** [d] of ones: the gain of every norm. */
  ones: 'rotated.ones',
  /** [d, d]: subtracts the mean from an embedding; for LayerNorm. */
  center: 'rotated.center',
  /** [d, d] = Rᵀ diag(gain) R: the final norm's gain, which is not folded so that a tied table stays one. */
  gain: 'rotated.gain',
  /** [d]: the final norm's bias; for LayerNorm. */
  bias: 'rotated.bias',
  /** [block, block]: H; absent if the block is 1. */
  hadamard: 'rotated.hadamard',
} as const;

/** Longer blocks spread outliers no better, and cost more. */
const MAX_HADAMARD_BLOCK = 32;

/** The size of the blocks of the feed-forward's inner vector that the graph multiplies by H. */
export function hadamardBlock({ intermediateSize }: Architecture): number {
  return largestPowerOfTwo(intermediateSize, MAX_HADAMARD_BLOCK);
}

/** Each tensor is rotated when it is read. */
export function rotateWeights(a: Architecture, weights: LazyWeights): LazyWeights {
  const d = a.hiddenSize;
  const isLayerNorm = a.norm === 'layer';
  const residual = createRotation(d, 0);
  const block = hadamardBlock(a);
  const hadamard = createHadamard(block);
  const rotated = new Map<string, LazyTensor>();

  const find = (name: string) => {
    const tensor = weights.get(name);
    if (!tensor) throw new Error(`internal: rotation: weight ${name} is missing`);
    return tensor;
  };
  /** A copy. */
  const read = async (name: string) => (await readTensor(find(name))).data.slice();
  const set = (name: string, shape: number[], readData: LazyTensor['read']) =>
    rotated.set(name, { shape, read: readData });
  const keep = (name: string) => set(name, find(name).shape, () => read(name));

  /** x R for each row of [n, d]. */
  const rotate = (data: Float32Array) => {
    rotateRows(data, residual);
    return data;
  };
  /** x R of a vector that a layer adds to the residual stream. */
  const rotateAdded = (data: Float32Array) => rotate(isLayerNorm ? subtractRowMeans(data, d) : data);

  /** A matrix [out, d] that reads a norm's output: W diag(gain) R, with the bias b + W · (the norm's bias). */
  function setReader(name: string, norm: string, adjust: (data: Float32Array, width: number) => Float32Array): void {
    const { shape } = find(`${name}.weight`);
    set(`${name}.weight`, shape, async () => {
      const gain = await read(`${norm}.weight`);
      return adjust(rotate(scaleColumns(await read(`${name}.weight`), gain)), d);
    });
    if (!isLayerNorm && !weights.has(`${name}.bias`)) return;
    set(`${name}.bias`, [shape[0]!], async () => {
      const bias = weights.has(`${name}.bias`) ? await read(`${name}.bias`) : new Float32Array(shape[0]!);
      if (isLayerNorm) addProduct(bias, await read(`${name}.weight`), await read(`${norm}.bias`));
      return adjust(bias, 1);
    });
  }

  /** A matrix [d, in] whose output is added to the residual stream: Rᵀ W, its inputs changed by `adjust`. */
  function setWriter(name: string, adjust: (data: Float32Array) => Promise<Float32Array>): void {
    const { shape } = find(`${name}.weight`);
    const into = shape[1]!;
    set(`${name}.weight`, shape, async () => {
      const columns = transpose(await adjust(await read(`${name}.weight`)), d, into);
      return transpose(rotateAdded(columns), into, d);
    });
    if (weights.has(`${name}.bias`)) set(`${name}.bias`, [d], async () => rotateAdded(await read(`${name}.bias`)));
  }

  function setLayer(layer: number): void {
    const at = `model.layers.${layer}`;
    const values = createRotation(a.headDim, 1 + layer);
    const rotateInputs = async (data: Float32Array, rotation: Rotation) => {
      rotateRows(data, rotation);
      return data;
    };
    /** R₂ᵀ W of each head of W [KV · hd, width] */
    const rotateHeads = (data: Float32Array, width: number) => {
      const columns = transpose(data, data.length / width, width);
      rotateRows(columns, values);
      return transpose(columns, width, data.length / width);
    };
    let factors: Promise<Float32Array> | undefined;
    const balance = () => {
      factors ??= balanceFeedForward(a, weights, at);
      return factors;
    };
    const unchanged = (data: Float32Array) => data;
    for (const kind of ['q', 'k']) setReader(`${at}.self_attn.${kind}_proj`, `${at}.input_layernorm`, unchanged);
    setReader(`${at}.self_attn.v_proj`, `${at}.input_layernorm`, rotateHeads);
    setWriter(`${at}.self_attn.o_proj`, (data) => rotateInputs(data, values));
    if (a.queryKeyNorm) for (const kind of ['q', 'k']) keep(`${at}.self_attn.${kind}_norm.weight`);
    if (a.gated) setReader(`${at}.mlp.gate_proj`, `${at}.post_attention_layernorm`, unchanged);
    setReader(`${at}.mlp.up_proj`, `${at}.post_attention_layernorm`, unchanged);
    if (a.gated) scaleUp(`${at}.mlp.up_proj`, balance);
    setWriter(`${at}.mlp.down_proj`, async (data) =>
      rotateInputs(a.gated ? scaleColumns(data, await balance()) : data, hadamard),
    );
  }

  /** Divides what the projection gives by the factors that its consumer is multiplied by. */
  function scaleUp(name: string, readFactors: () => Promise<Float32Array>): void {
    for (const part of [`${name}.weight`, `${name}.bias`]) {
      const tensor = rotated.get(part);
      if (tensor)
        set(part, tensor.shape, async () => {
          const inverse = (await readFactors()).map((factor) => 1 / factor);
          return scaleRows(await tensor.read(), inverse);
        });
    }
  }

  const embedding = 'model.embed_tokens.weight';
  set(embedding, find(embedding).shape, async () => rotate(await read(embedding)));
  const positions = 'model.embed_positions.weight';
  if (a.positions === 'learned') set(positions, find(positions).shape, async () => rotate(await read(positions)));
  for (let layer = 0; layer < a.layers; layer++) setLayer(layer);

  /** Rᵀ M R of M [d, d] */
  const conjugate = (matrix: Float32Array) => transpose(rotate(transpose(rotate(matrix), d, d)), d, d);
  set(ROTATED.ones, [d], async () => new Float32Array(d).fill(1));
  set(ROTATED.gain, [d, d], async () => conjugate(diagonal(await read('model.norm.weight'))));
  if (isLayerNorm) {
    set(ROTATED.center, [d, d], async () => conjugate(subtractRowMeans(identity(d), d)));
    set(ROTATED.bias, [d], async () => rotate(await read('model.norm.bias')));
  }
  if (block > 1) set(ROTATED.hadamard, [block, block], async () => hadamardMatrix(block));
  if (!a.tied) set('lm_head.weight', find('lm_head.weight').shape, async () => rotate(await read('lm_head.weight')));
  return rotated;
}

/** sums [out] += W x of W [out, in] */
function addProduct(sums: Float32Array, matrix: Float32Array, x: Float32Array): void {
  for (let row = 0; row < sums.length; row++) {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += matrix[row * x.length + i]! * x[i]!;
    sums[row]! += sum;
  }
}

function identity(size: number): Float32Array {
  return diagonal(new Float32Array(size).fill(1));
}

/** diag(values) [n, n] */
function diagonal(values: Float32Array): Float32Array {
  const matrix = new Float32Array(values.length ** 2);
  for (const [i, value] of values.entries()) matrix[i * (values.length + 1)] = value;
  return matrix;
}
