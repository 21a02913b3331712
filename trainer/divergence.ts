// Bregman divergences: a convex h of the density ratio r = eᶠ gives the objective −∂h(r_w) + ∂h(r_l)·r_l − h(r_l), whose
// minimum over samples of the reference is the true ratio (Sugiyama et al. 2012; Eq. 22–24 of arXiv 2503.05079). A custom
// one is a module; it is rejected unless h is finite and convex and `derivative` is the derivative of h.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { AttuneError } from '../shared/error.ts';

/** Element-wise functions of density ratios: [P], all above zero → [P]. */
export type Divergence = {
  h(r: tf.Tensor1D): tf.Tensor1D;
  derivative(r: tf.Tensor1D): tf.Tensor1D;
};
type Tfjs = typeof tf;
/** The default export of a custom module. It receives tfjs, so the module has no imports. */
export type DivergenceFactory = (tf: Tfjs) => Divergence;

/** The chosen response's term −∂h(r_w) and the negative's ∂h(r_l)·r_l − h(r_l), [P] each. */
export function bregmanTerms(
  { h, derivative }: Divergence,
  chosenRatio: tf.Tensor1D,
  negativeRatio: tf.Tensor1D,
): { chosen: tf.Tensor1D; negative: tf.Tensor1D } {
  return {
    chosen: tf.neg(derivative(chosenRatio)),
    negative: tf.sub(tf.mul(derivative(negativeRatio), negativeRatio), h(negativeRatio)),
  };
}

const loaded = new Map<string, { sha256: string; divergence: Divergence }>();

/** The divergence of a module that this thread has loaded. */
export function getDivergence(file: string): Divergence {
  const cached = loaded.get(path.resolve(file));
  if (!cached) throw new Error(`internal: objective ${file} was not loaded`);
  return cached.divergence;
}

/** Imports a module into this thread, again if the file has changed. */
export async function loadDivergence(file: string): Promise<Divergence> {
  const full = path.resolve(file);
  const { sha256 } = await hashModule(full);
  const cached = loaded.get(full);
  if (cached?.sha256 === sha256) return cached.divergence;
  // Node caches modules by URL and a trainer runs for weeks, so the URL contains the digest of the file.
  const module = (await import(`${pathToFileURL(full).href}?sha256=${sha256}`).catch((error: Error) => {
    throw toError(file, `the import failed: ${error.message}`, 'fix the module');
  })) as { default?: unknown };
  if (typeof module.default !== 'function')
    throw toError(file, 'the default export is not a function', 'write export default (tf) => ({ h, derivative })');
  const created = create(file, module.default as DivergenceFactory) as Partial<Divergence> | undefined;
  if (typeof created?.h !== 'function' || typeof created.derivative !== 'function')
    throw toError(
      file,
      'the default export returns no h and derivative',
      'return both, as functions of a tensor of ratios',
    );
  const divergence = created as Divergence;
  loaded.set(full, { sha256, divergence });
  return divergence;
}

function create(file: string, factory: DivergenceFactory): Divergence {
  try {
    return factory(tf);
  } catch (error) {
    throw toError(file, `the default export throws: ${(error as Error).message}`, 'fix the module');
  }
}

/** The name and content digest of a module, for the manifest of a policy. */
export async function hashModule(file: string): Promise<{ name: string; sha256: string }> {
  const content = await readFile(file).catch((error: Error) => {
    throw toError(file, `the file cannot be read: ${error.message}`, 'give the path of a .ts or .js module');
  });
  return { name: path.basename(file), sha256: createHash('sha256').update(content).digest('hex') };
}

/** Ratios from e^-6 to e^6, the range of log-ratios of a policy near its reference. */
const GRID = Array.from({ length: 97 }, (_, i) => Math.exp((i - 48) / 8));
const STEP = 1e-2;

/**
 * Throws AttuneError unless h is finite and convex on the grid and `derivative` is its derivative. Reads values, so the
 * tfjs backend may not be the tracing one.
 */
export function validateDivergence(file: string, { h, derivative }: Divergence): void {
  const values = (f: (r: tf.Tensor1D) => tf.Tensor1D, at: number[], name: string) => {
    const result = tf.tidy(() => apply(file, name, f, tf.tensor1d(at)));
    if (result.shape.join() !== String(at.length))
      throw toError(file, `${name} returns shape [${result.shape}] for [${at.length}]`, 'use element-wise operations');
    return result.dataSync();
  };
  const slopes = values(derivative, GRID, 'derivative');
  const hValues = values(h, GRID, 'h');
  const above = values(h, scaled(1 + STEP), 'h');
  const below = values(h, scaled(1 - STEP), 'h');
  for (const [i, r] of GRID.entries()) {
    const where = `at r = ${r.toPrecision(4)}`;
    if (!Number.isFinite(hValues[i]) || !Number.isFinite(slopes[i]))
      throw toError(
        file,
        `${where} h is ${hValues[i]} and its derivative ${slopes[i]}`,
        'both must be finite for r > 0',
      );
    const before = (hValues[i]! - below[i]!) / (STEP * r);
    const after = (above[i]! - hValues[i]!) / (STEP * r);
    // The float32 error of a difference of two values of h, in which terms like r log r may cancel.
    const noise = (4e-7 * (Math.abs(hValues[i]!) + 1 + r * (1 + Math.abs(Math.log(r))))) / (STEP * r);
    if (before > after + noise)
      throw toError(file, `${where} the slope of h falls from ${before} to ${after}`, 'h must be convex');
    // A tangent of a convex h lies below it on both sides; at a kink, any slope between the two is a subgradient.
    if (slopes[i]! < before - noise || slopes[i]! > after + noise)
      throw toError(
        file,
        `${where} derivative is ${slopes[i]}, but h rises by ${((before + after) / 2).toPrecision(4)}`,
        'fix one of them',
      );
    if (i > 0 && slopes[i]! < slopes[i - 1]! - 1e-5 * (1 + Math.abs(slopes[i]!)))
      throw toError(file, `${where} the slope of h falls from ${slopes[i - 1]} to ${slopes[i]}`, 'h must be convex');
  }
  if (slopes.at(-1)! - slopes[0]! < 1e-6)
    throw toError(file, `the slope of h is ${slopes[0]} everywhere`, 'h must not be linear');
}

function apply(file: string, name: string, f: (r: tf.Tensor1D) => tf.Tensor1D, r: tf.Tensor1D): tf.Tensor1D {
  let result: unknown;
  try {
    result = f(r);
  } catch (error) {
    throw toError(file, `${name} throws: ${(error as Error).message}`, 'fix the module');
  }
  if (!(result instanceof tf.Tensor))
    throw toError(file, `${name} returns no tensor`, 'use the operations of the tf that the default export receives');
  return result as tf.Tensor1D;
}

function scaled(factor: number): number[] {
  return GRID.map((r) => r * factor);
}

function toError(file: string, problem: string, remedy: string): AttuneError {
  return new AttuneError(`objective ${file}: ${problem}; ${remedy}`, { param: 'objective', code: 'invalid_objective' });
}
