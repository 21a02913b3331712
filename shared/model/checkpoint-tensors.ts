// Converts between a checkpoint's tensors, with its family's names and layouts, and Attune's. Both directions validate
// every tensor's presence and shape at once, and its values whenever it is read; errors use the checkpoint's names.
import { AttuneError } from '../error.ts';
import { type Architecture, weightShapes } from './architecture.ts';
import { getFamily } from './families/families.ts';
import type { TensorFormat } from './families/family.ts';
import { type LazyTensor, type LazyWeights, readTensor, type Tensor } from './tensor.ts';

/**
 * Converts a checkpoint's tensors to Attune's, each when it is read. Throws AttuneError for a missing or extra tensor and
 * for a shape; reading a tensor throws one for a value that is not finite. `format`: the names and layouts in the
 * checkpoint; default: Hugging Face's.
 */
export function fromCheckpointTensors(
  architecture: Architecture,
  stored: LazyWeights,
  format: TensorFormat = getFamily(architecture),
): LazyWeights {
  const { tensors, optionalPrefix = '', buffers } = format;
  const shapes = weightShapes(architecture);
  const expected = tensors(architecture);
  const known = new Set<string>();
  const weights = new Map<string, LazyTensor>();
  for (const { name, parts, layout } of expected) {
    const shortName = name.startsWith(optionalPrefix) ? name.slice(optionalPrefix.length) : name;
    const storedName = stored.has(name) ? name : shortName;
    known.add(storedName);
    const partShapes = parts.map((part) => shapes.get(part)!);
    const tensor = validateTensor(name, stored.get(storedName), layout.storedShape(partShapes));
    for (const [i, part] of parts.entries()) {
      const read = async () => layout.split(await readTensor(tensor), partShapes)[i]!.data;
      weights.set(part, { shape: partShapes[i]!, read });
    }
  }
  for (const name of stored.keys()) {
    if (known.has(name) || buffers.test(name) || (architecture.tied && OUTPUT_LAYER.test(name))) continue;
    throw invalidCheckpoint(
      `tensor ${name} does not belong to a ${architecture.family} with this config.json; it is from another model`,
    );
  }
  return new Map(Array.from(shapes.keys(), (name) => [name, weights.get(name)!]));
}

/** A tied model's embedding table may be stored a second time as the output layer. */
const OUTPUT_LAYER = /^(lm_head|embed_out)\.weight$/;

/** Converts Attune's tensors to the family's, in checkpoint order, each when it is read. */
export function toCheckpointTensors(architecture: Architecture, weights: LazyWeights): LazyWeights {
  const shapes = weightShapes(architecture);
  for (const name of weights.keys()) if (!shapes.has(name)) throw new Error(`internal: unknown tensor ${name}`);
  const stored = new Map<string, LazyTensor>();
  for (const { name, parts, layout } of getFamily(architecture).tensors(architecture)) {
    const partShapes = parts.map((part) => shapes.get(part)!);
    const tensors = parts.map((part, i) => validateTensor(part, weights.get(part), partShapes[i]!));
    const read = async () => layout.join(await Promise.all(tensors.map(readTensor))).data;
    stored.set(name, { shape: layout.storedShape(partShapes), read });
  }
  return stored;
}

/** Returns the tensor with a check of its values when it is read. */
function validateTensor(name: string, tensor: Tensor | LazyTensor | undefined, shape: number[]): LazyTensor {
  if (tensor === undefined) {
    throw invalidCheckpoint(
      `tensor ${name} is missing; the checkpoint is incomplete or its config.json is from another model`,
    );
  }
  if (tensor.shape.join() !== shape.join()) {
    throw invalidCheckpoint(
      `tensor ${name} has shape [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]; ` +
        'the checkpoint is damaged or its config.json is from another model',
    );
  }
  return {
    shape,
    async read() {
      const { data } = await readTensor(tensor);
      const at = findNonFinite(data);
      if (at < 0) return data;
      throw invalidCheckpoint(`tensor ${name} is ${data[at]} at index ${at}; training diverged or the file is damaged`);
    },
  };
}

function findNonFinite(data: Float32Array): number {
  // x - x is 0 for every finite x and NaN otherwise: one pass without a branch per element covers the usual case.
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]! - data[i]!;
  return sum === 0 ? -1 : data.findIndex((value) => !Number.isFinite(value));
}

export function invalidCheckpoint(problem: string): AttuneError {
  return new AttuneError(`policies import: ${problem}`, { code: 'invalid_checkpoint' });
}
