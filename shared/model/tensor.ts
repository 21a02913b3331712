// A model's tensors by their name: in memory, or read from a file or computed from others each time they are needed, so
// that a checkpoint is converted without ever being in memory as a whole.

export type Tensor = { shape: number[]; data: Float32Array };
export type Weights = Map<string, Tensor>;

export type LazyTensor = { shape: number[]; read(): Promise<Float32Array> };
/** In memory or not: Weights are LazyWeights too. */
export type LazyWeights = ReadonlyMap<string, Tensor | LazyTensor>;

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

export async function readTensor(tensor: Tensor | LazyTensor): Promise<Tensor> {
  return 'data' in tensor ? tensor : { shape: tensor.shape, data: await tensor.read() };
}

/** Reads all tensors into memory. */
export async function readWeights(lazy: LazyWeights): Promise<Weights> {
  const weights: Weights = new Map();
  for (const [name, tensor] of lazy) weights.set(name, await readTensor(tensor));
  return weights;
}

/** Reads each tensor and keeps none: throws what reading any of them throws. */
export async function validateWeights(weights: LazyWeights): Promise<void> {
  for (const tensor of weights.values()) await readTensor(tensor);
}

/** The memory of the tensors, each buffer once: several tensors may share one. */
export function buffersOf(weights: Weights): ArrayBuffer[] {
  return [...new Set(Array.from(weights.values(), ({ data }) => data.buffer as ArrayBuffer))];
}
