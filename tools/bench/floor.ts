// What the machine itself can do, through the runtime that serves: how fast it reads memory, and how fast it multiplies
// matrices that are big enough to keep it busy. A decoder cannot be faster than reading its weights once a step and
// multiplying once a token; how near a peer comes to that says how much is left to gain.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import type { Architecture } from '../../shared/model/architecture.ts';
import { type Initializer, type OnnxGraph, type OnnxType, writeOnnxModel } from '../../shared/onnx/model-proto.ts';

/** Bytes, and operations (a multiplication and an addition are two), per second. */
export type Floor = { read: number; float32: number; int8: number };

/** How a peer stores a weight and what it multiplies. */
export type Storage = { bits: number; arithmetic: 'float32' | 'int8' };

const REPEATS = 20;

export async function measureFloor(threads: number): Promise<Floor> {
  return {
    read: await measureRead(threads),
    float32: await measureProduct(threads, 'MatMul', 'float32', 'float32', 'float32'),
    int8: await measureProduct(threads, 'MatMulInteger', 'uint8', 'int8', 'int32'),
  };
}

/** The better of two measurements in each: what disturbs a machine only ever slows it. */
export function betterOf(a: Floor, b: Floor): Floor {
  const best = (name: keyof Floor) => Math.max(a[name], b[name]);
  return { read: best('read'), float32: best('float32'), int8: best('int8') };
}

/** Tokens per second that no decoding can exceed, with so many streams whose caches hold so many tokens. */
export function boundDecoding(floor: Floor, a: Architecture, storage: Storage, streams: number, held: number): number {
  const weights = countWeights(a) + a.vocabSize * a.hiddenSize;
  const cache = streams * held * a.layers * 2 * a.kvHeads * a.headDim * 4;
  const reading = ((weights * storage.bits) / 8 + cache) / floor.read;
  const multiplying = (2 * weights * streams) / floor[storage.arithmetic];
  return streams / Math.max(reading, multiplying);
}

/** Tokens of prompts per second that no prefill can exceed. */
export function boundPrefill(floor: Floor, a: Architecture, storage: Storage): number {
  return floor[storage.arithmetic] / (2 * countWeights(a));
}

/** Those of the layers, which every token is multiplied with. */
function countWeights(a: Architecture): number {
  const queries = a.heads * a.headDim;
  const keys = a.kvHeads * a.headDim;
  return a.layers * a.hiddenSize * (2 * queries + 2 * keys + (a.gated ? 3 : 2) * a.intermediateSize);
}

/** A sum over 256 MiB, far more than caches hold: nothing but reading. */
async function measureRead(threads: number): Promise<number> {
  const dims = [1024, 65536];
  const axis: Initializer = { name: 'axis', type: 'int64', dims: [1], data: BigInt64Array.of(1n) };
  const graph: OnnxGraph = {
    nodes: [{ op: 'ReduceSum', inputs: ['x', 'axis'], outputs: ['y'], attributes: { keepdims: 0 } }],
    inputs: [{ name: 'x', type: 'float32', dims }],
    outputs: [{ name: 'y', type: 'float32', dims: [1024] }],
    initializers: [axis],
  };
  const x = new Float32Array(1024 * 65536).fill(1);
  return x.byteLength / (await time(graph, { x: new Tensor('float32', x, dims) }, threads));
}

async function measureProduct(
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
  return (2 * rows * inner * columns) / (await time(graph, { x: new Tensor(left, x, [rows, inner]) }, threads));
}

/** Seconds of the best run, because what the machine can do is what it did when nothing disturbed it. */
async function time(graph: OnnxGraph, feeds: Record<string, Tensor>, threads: number): Promise<number> {
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
