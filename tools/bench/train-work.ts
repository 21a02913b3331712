// What a step has to do, as numbers: tokens, floating-point operations, and the products of matrices that it is made of.
// Only what the result depends on is counted: no padding, no position whose logits nobody asks for.
import { type Architecture, weightShapes } from '../../shared/model/architecture.ts';
import type { Pair } from './train-pairs.ts';

/** Of the pairs of one step. */
export type Work = {
  /** Tokens that both sequences of each pair hold, the prompt in each; what every peer's rate counts. */
  tokens: number;
  /** Of these, the prompts' second times, which a trainer can do without. */
  repeated: number;
  /** Operations with every prompt computed twice, and once. */
  flops: { apart: number; shared: number };
};

/** One product [rows, inner] · [inner, columns], and how often a step has it. */
export type Product = {
  rows: number;
  inner: number;
  columns: number;
  transposeA: boolean;
  transposeB: boolean;
  count: number;
};

/**
 * 6 operations for a token and a weight of the layers: a multiplication and an addition forward, two of each backward.
 * The same for a response token and a weight of the output layer. And 12 · heads · head size · layers for a query and a
 * key that it sees, itself included: scores and mixture forward, four products backward.
 */
export function countWork(a: Architecture, pairs: Pair[]): Work {
  const inLayers = layerMatrices(a).reduce((sum, [out, into]) => sum + out * into, 0);
  const inHead = a.vocabSize * a.hiddenSize;
  const seenBy = (from: number, to: number) => (to * (to + 1) - from * (from + 1)) / 2;
  const work: Work = { tokens: 0, repeated: 0, flops: { apart: 0, shared: 0 } };
  for (const { prompt, chosen, rejected } of pairs) {
    const start = prompt.length;
    // The last token of a response is predicted and not read.
    const ends = [chosen, rejected].map((response) => start + response.length - 1);
    const tokens = ends[0]! + ends[1]!;
    const seen = seenBy(0, ends[0]!) + seenBy(0, ends[1]!);
    const flops = (tokens: number, seen: number) =>
      6 * inLayers * tokens +
      6 * inHead * (chosen.length + rejected.length) +
      12 * a.heads * a.headDim * a.layers * seen;
    work.tokens += tokens;
    work.repeated += start;
    work.flops.apart += flops(tokens, seen);
    work.flops.shared += flops(tokens - start, seen - seenBy(0, start));
  }
  return work;
}

/** The products of a step over so many rows, of which a share reaches the output layer; attention's are left out. */
export function listProducts(a: Architecture, rows: number, responseShare: number): Product[] {
  const counts = new Map<string, number>();
  for (const shape of layerMatrices(a)) counts.set(shape.join(), (counts.get(shape.join()) ?? 0) + 1);
  const products = [...counts].flatMap(([shape, count]) => {
    const [out, into] = shape.split(',').map(Number) as [number, number];
    return withGradients(rows, out, into, count);
  });
  return [...products, ...withGradients(Math.round(rows * responseShare), a.vocabSize, a.hiddenSize, 1)];
}

export function flopsOfProduct({ rows, inner, columns }: Product): number {
  return 2 * rows * inner * columns;
}

/** x Wᵀ, dy W and dyᵀ x, for W [out, in] */
function withGradients(rows: number, out: number, into: number, count: number): Product[] {
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
