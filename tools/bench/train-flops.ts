// The work of a training step: tokens, floating-point operations, and its matrix products. Only what the result depends on
// is counted: no padding, no logits of prompt positions.
import { type Architecture, weightShapes } from '../../shared/model/architecture.ts';
import type { Pair } from './train-pairs.ts';

export type StepWork = {
  /** Tokens of both sequences of each pair, prompts included; the basis of every peer's rate. */
  tokens: number;
  /** Prompt tokens that occur twice, which a trainer can compute once. */
  repeatedTokens: number;
  /** Operations with every prompt computed twice (`separate`) or once (`shared`). */
  flops: { separate: number; shared: number };
};

/** A product [rows, inner] · [inner, columns], and how often a step computes it. */
export type Matmul = {
  rows: number;
  inner: number;
  columns: number;
  transposeA: boolean;
  transposeB: boolean;
  count: number;
};

/**
 * 6 operations per token and layer weight: a multiply-add forward, two backward. The same per response token and output
 * layer weight. 12 · heads · head size · layers per query and attended key, itself included: scores and weighted sum
 * forward, four products backward.
 */
export function countWork(a: Architecture, pairs: Pair[]): StepWork {
  const layerWeights = layerMatrices(a).reduce((sum, [out, into]) => sum + out * into, 0);
  const outputWeights = a.vocabSize * a.hiddenSize;
  const attendedKeys = (from: number, to: number) => (to * (to + 1) - from * (from + 1)) / 2;
  const work: StepWork = { tokens: 0, repeatedTokens: 0, flops: { separate: 0, shared: 0 } };
  for (const { prompt, chosen, rejected } of pairs) {
    const start = prompt.length;
    // The last token of a response is only predicted.
    const ends = [chosen, rejected].map((response) => start + response.length - 1);
    const tokens = ends[0]! + ends[1]!;
    const keys = attendedKeys(0, ends[0]!) + attendedKeys(0, ends[1]!);
    const flops = (tokens: number, keys: number) =>
      6 * layerWeights * tokens +
      6 * outputWeights * (chosen.length + rejected.length) +
      12 * a.heads * a.headDim * a.layers * keys;
    work.tokens += tokens;
    work.repeatedTokens += start;
    work.flops.separate += flops(tokens, keys);
    work.flops.shared += flops(tokens - start, keys - attendedKeys(0, start));
  }
  return work;
}

/** The matrix products of a step over `rows` tokens, of which a share reaches the output layer; without attention. */
export function listMatmuls(a: Architecture, rows: number, responseShare: number): Matmul[] {
  const counts = new Map<string, number>();
  for (const shape of layerMatrices(a)) counts.set(shape.join(), (counts.get(shape.join()) ?? 0) + 1);
  const matmuls = [...counts].flatMap(([shape, count]) => {
    const [out, into] = shape.split(',').map(Number) as [number, number];
    return withGradients(rows, out, into, count);
  });
  return [...matmuls, ...withGradients(Math.round(rows * responseShare), a.vocabSize, a.hiddenSize, 1)];
}

export function matmulFlops({ rows, inner, columns }: Matmul): number {
  return 2 * rows * inner * columns;
}

/** x Wᵀ, dy W and dyᵀ x, for W [out, in] */
function withGradients(rows: number, out: number, into: number, count: number): Matmul[] {
  return [
    { rows, inner: into, columns: out, transposeA: false, transposeB: true, count },
    { rows, inner: out, columns: into, transposeA: false, transposeB: false, count },
    { rows: out, inner: rows, columns: into, transposeA: true, transposeB: false, count },
  ];
}

function layerMatrices(a: Architecture): [number, number][] {
  return Array.from(weightShapes(a))
    .filter(([name, shape]) => name.startsWith('model.layers.') && shape.length === 2)
    .map(([, shape]) => shape as [number, number]);
}
