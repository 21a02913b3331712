// The machine's roofline (Williams et al. 2009), measured through ONNX Runtime: memory bandwidth and matrix multiplication
// rate. Decoding is bounded by reading every weight once per step and multiplying it once per token.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Architecture } from '../../shared/model/architecture.ts';
import { type Initializer, type OnnxGraph, type OnnxType, writeOnnxModel } from '../../shared/onnx/model-proto.ts';

/** Bytes per second; operations per second, where a multiply-add counts as two. */
export type Roofline = { readBytesPerSecond: number; float32: number; int8: number };

/** Bits per weight (scales included) and the arithmetic of matrix products. */
export type WeightFormat = { bits: number; arithmetic: 'float32' | 'int8' };

const REPEATS = 20;

export async function measureRoofline(threads: number): Promise<Roofline> {
  return {
    readBytesPerSecond: await measureReadBandwidth(threads),
    float32: await measureMatmul(threads, 'MatMul', 'float32', 'float32', 'float32'),
    int8: await measureMatmul(threads, 'MatMulInteger', 'uint8', 'int8', 'int32'),
  };
}

/** The larger of two measurements in each figure, because noise only ever slows a machine. */
export function maxRoofline(a: Roofline, b: Roofline): Roofline {
  const best = (name: keyof Roofline) => Math.max(a[name], b[name]);
  return { readBytesPerSecond: best('readBytesPerSecond'), float32: best('float32'), int8: best('int8') };
}

/** Upper bound of decoded tokens per second; `cacheLength`: mean number of cached tokens of a stream. */
export function maxDecodeRate(
  roofline: Roofline,
  a: Architecture,
  format: WeightFormat,
  streams: number,
  cacheLength: number,
): number {
  const weights = countLayerWeights(a) + a.vocabSize * a.hiddenSize;
  const cacheBytes = streams * cacheLength * a.layers * 2 * a.kvHeads * a.headDim * 4;
  const readSeconds = ((weights * format.bits) / 8 + cacheBytes) / roofline.readBytesPerSecond;
  const multiplySeconds = (2 * weights * streams) / roofline[format.arithmetic];
  return streams / Math.max(readSeconds, multiplySeconds);
}

/** Upper bound of prompt tokens per second. */
export function maxPrefillRate(roofline: Roofline, a: Architecture, format: WeightFormat): number {
  return roofline[format.arithmetic] / (2 * countLayerWeights(a));
}

/** Number of weights in the layers, each multiplied once per token. */
function countLayerWeights(a: Architecture): number {
  const queries = a.heads * a.headDim;
  const keys = a.kvHeads * a.headDim;
  return a.layers * a.hiddenSize * (2 * queries + 2 * keys + (a.gated ? 3 : 2) * a.intermediateSize);
}

/** A sum over 256 MiB, far more than fits the processor's caches, is limited by memory reads. */
async function measureReadBandwidth(threads: number): Promise<number> {
  const dims = [1024, 65536];
  const axis: Initializer = { name: 'axis', type: 'int64', dims: [1], data: BigInt64Array.of(1n) };
  const graph: OnnxGraph = {
    nodes: [{ op: 'ReduceSum', inputs: ['x', 'axis'], outputs: ['y'], attributes: { keepdims: 0 } }],
    inputs: [{ name: 'x', type: 'float32', dims }],
    outputs: [{ name: 'y', type: 'float32', dims: [1024] }],
    initializers: [axis],
  };
  const x = new Float32Array(1024 * 65536).fill(1);
  return x.byteLength / (await bestSeconds(graph, { x: new Tensor('float32', x, dims) }, threads));
}

async function measureMatmul(
  threads: number,
  op: string,
  left: 'float32' | 'uint8',
  right: 'float32' | 'int8',
  result: OnnxType,
): Promise<number> {
  const [rows, inner, columns] = [512, 2048, 2048];
  const w = right === 'int8' ? new Int8Array(inner * columns).fill(3) : new Float32Array(inner * columns).fill(0.5);
  const graph: OnnxGraph = {
    nodes: [{ op, inputs: ['x', 'w'], outputs: ['y'] }],
    inputs: [{ name: 'x', type: left, dims: [rows, inner] }],
    outputs: [{ name: 'y', type: result, dims: [rows, columns] }],
    initializers: [{ name: 'w', type: right, dims: [inner, columns], data: w }],
  };
  const x = left === 'uint8' ? new Uint8Array(rows * inner).fill(5) : new Float32Array(rows * inner).fill(0.5);
  return (2 * rows * inner * columns) / (await bestSeconds(graph, { x: new Tensor(left, x, [rows, inner]) }, threads));
}

/** Seconds of the fastest run, which is the one with the least noise. */
async function bestSeconds(graph: OnnxGraph, feeds: Record<string, Tensor>, threads: number): Promise<number> {
  const session = await InferenceSession.create(writeOnnxModel(graph), { intraOpNumThreads: threads });
  let best = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    const started = performance.now();
    await session.run(feeds);
    best = Math.min(best, performance.now() - started);
  }
  await session.release();
  return best / 1000;
}
