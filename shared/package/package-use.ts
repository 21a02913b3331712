// Which files of a package a use of it reads. A large policy has gigabytes that serving does not: a swap need not wait until
// they are verified.
import type { Manifest } from './manifest.ts';

/** `serve`: generating. `all`: anything else, such as scoring, training or copying it. */
export type PackageUse = 'serve' | 'all';

const SERVING_WEIGHTS = 'onnx/serve.onnx_data';
/** At float32 the serving graph has no weights of its own, and reads these. */
const FLOAT32_WEIGHTS = 'onnx/model.onnx_data';
const NOT_SERVED = ['model.safetensors', 'onnx/model.onnx', 'onnx/score.onnx', FLOAT32_WEIGHTS];

/** The weights that the serving graph reads. */
export function selectServingWeights(files: Manifest['files']): string {
  return files[SERVING_WEIGHTS] ? SERVING_WEIGHTS : FLOAT32_WEIGHTS;
}

export function listFilesOf(use: PackageUse, { files }: Pick<Manifest, 'files'>): string[] {
  const names = Object.keys(files);
  if (use === 'all') return names;
  const weights = selectServingWeights(files);
  return names.filter((name) => name === weights || !NOT_SERVED.includes(name));
}
