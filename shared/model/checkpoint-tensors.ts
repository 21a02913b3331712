// Converts between a checkpoint's tensors, with its family's names and layouts, and Attune's. Both directions validate
// every tensor's presence, shape and finiteness; errors use the checkpoint's names.
import { AttuneError } from '../error.ts';
import { type Architecture, weightShapes } from './architecture.ts';
import { getFamily } from './families/families.ts';
import type { Tensor, Weights } from './safetensors.ts';

/** Converts a checkpoint's tensors to Attune's. Throws AttuneError for a missing, extra or invalid tensor. */
export function fromCheckpointTensors(architecture: Architecture, stored: Weights): Weights {
  const { tensors, optionalPrefix = '', buffers } = getFamily(architecture);
  const shapes = weightShapes(architecture);
  const expected = tensors(architecture);
  const known = new Set<string>();
  const weights: Weights = new Map();
  for (const { name, parts, layout } of expected) {
    const shortName = name.startsWith(optionalPrefix) ? name.slice(optionalPrefix.length) : name;
    const storedName = stored.has(name) ? name : shortName;
    known.add(storedName);
    const partShapes = parts.map((part) => shapes.get(part)!);
    const tensor = validateTensor(name, stored.get(storedName), layout.storedShape(partShapes));
    for (const [i, part] of layout.split(tensor, partShapes).entries()) weights.set(parts[i]!, part);
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

/** Converts Attune's tensors to the family's, in checkpoint order. */
export function toCheckpointTensors(architecture: Architecture, weights: Weights): Weights {
  const shapes = weightShapes(architecture);
  for (const name of weights.keys()) if (!shapes.has(name)) throw new Error(`internal: unknown tensor ${name}`);
  const stored: Weights = new Map();
  for (const { name, parts, layout } of getFamily(architecture).tensors(architecture)) {
    const tensors = parts.map((part) => validateTensor(part, weights.get(part), shapes.get(part)!));
    stored.set(name, layout.join(tensors));
  }
  return stored;
}

function validateTensor(name: string, tensor: Tensor | undefined, shape: number[]): Tensor {
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
  const at = findNonFinite(tensor.data);
  if (at >= 0) {
    throw invalidCheckpoint(
      `tensor ${name} is ${tensor.data[at]} at index ${at}; training diverged or the file is damaged`,
    );
  }
  return tensor;
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
