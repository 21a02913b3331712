// Between the tensors of a checkpoint file, as its family names and lays them, and Attune's own. Both ways check every
// tensor's presence, shape and finiteness, and name the one that is wrong as the file does.
import { AttuneError } from '../error.ts';
import { type Architecture, weightShapes } from './architecture.ts';
import { getFamily } from './families/families.ts';
import type { Tensor, Weights } from './safetensors.ts';

/** A checkpoint's tensors → Attune's, in checkpoint order. */
export function fromCheckpointTensors(architecture: Architecture, stored: Weights): Weights {
  const { tensors, optionalPrefix: prefix = '', buffers } = getFamily(architecture);
  const shapes = weightShapes(architecture);
  const expected = tensors(architecture);
  const known = new Set<string>();
  const found: Weights = new Map();
  for (const { name, parts, layout: form } of expected) {
    const bare = name.startsWith(prefix) ? name.slice(prefix.length) : name;
    const own = stored.has(name) ? name : bare;
    known.add(own);
    const partShapes = parts.map((part) => shapes.get(part)!);
    const tensor = check(name, stored.get(own), form.storedShape(partShapes));
    for (const [i, part] of form.split(tensor, partShapes).entries()) found.set(parts[i]!, part);
  }
  for (const name of stored.keys()) {
    if (known.has(name) || buffers.test(name) || (architecture.tied && OUTPUT_LAYER.test(name))) continue;
    throw invalid(`tensor ${name} has no place in a ${architecture.family} of this config.json; it is another model's`);
  }
  return new Map(Array.from(shapes.keys(), (name) => [name, found.get(name)!]));
}

/** A tied model's table may be stored once more under the output layer's name. */
const OUTPUT_LAYER = /^(lm_head|embed_out)\.weight$/;

/** Attune's tensors → a checkpoint's, in its order. */
export function toCheckpointTensors(architecture: Architecture, weights: Weights): Weights {
  const shapes = weightShapes(architecture);
  for (const name of weights.keys()) if (!shapes.has(name)) throw new Error(`internal: layout: a tensor ${name}`);
  const stored: Weights = new Map();
  for (const { name, parts, layout: form } of getFamily(architecture).tensors(architecture)) {
    const tensors = parts.map((part) => check(part, weights.get(part), shapes.get(part)!));
    stored.set(name, form.join(tensors));
  }
  return stored;
}

function check(name: string, tensor: Tensor | undefined, shape: number[]): Tensor {
  if (tensor === undefined) {
    throw invalid(`tensor ${name} is missing; the checkpoint is incomplete or its config.json is another model's`);
  }
  if (tensor.shape.join() !== shape.join()) {
    throw invalid(
      `tensor ${name} has shape [${tensor.shape.join(', ')}], expected [${shape.join(', ')}]; ` +
        "the checkpoint is damaged or its config.json is another model's",
    );
  }
  const at = findNonFinite(tensor.data);
  if (at >= 0) {
    throw invalid(`tensor ${name} holds ${tensor.data[at]} at index ${at}; its training diverged or it is damaged`);
  }
  return tensor;
}

function findNonFinite(data: Float32Array): number {
  // x - x is 0 for every finite x and NaN for the rest: one pass without a branch per element decides the usual case.
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]! - data[i]!;
  return sum === 0 ? -1 : data.findIndex((value) => !Number.isFinite(value));
}

function invalid(problem: string): AttuneError {
  return new AttuneError(`policies import: ${problem}`, { code: 'invalid_checkpoint' });
}
