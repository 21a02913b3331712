// Bregman divergences: a convex h of the density ratio r = eᶠ gives the objective −∂h(r_w) + ∂h(r_l)·r_l − h(r_l), whose
// minimum over samples of the reference is the true ratio (Sugiyama et al. 2012; Eq. 22–24 of arXiv 2503.05079). A user
// may bring one of their own as a module; it is refused unless it is convex and its derivative is its derivative.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import * as tf from '@tensorflow/tfjs-core';
import { AttuneError } from '../shared/error.ts';

/** Both take ratios [P] above zero. */
export type Divergence = {
  h(r: tf.Tensor1D): tf.Tensor1D;
  derivative(r: tf.Tensor1D): tf.Tensor1D;
};
type Tfjs = typeof tf;
/** What a user's module exports by default; it gets tfjs, so that it needs no package of its own. */
export type DivergenceModule = (tf: Tfjs) => Divergence;

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

/** The h of the objectives that have one. They are trained by their simplified forms, which need no ratio. */
export const divergences = {
  lsif: { h: (r) => tf.mul(0.5, tf.square(tf.sub(r, 1))), derivative: (r) => tf.sub(r, 1) },
  ukl: { h: (r) => tf.sub(tf.mul(r, tf.log(r)), r), derivative: (r) => tf.log(r) },
  bce: {
    h: (r) => tf.sub(tf.mul(r, tf.log(r)), tf.mul(tf.add(r, 1), tf.log(tf.add(r, 1)))),
    derivative: (r) => tf.sub(tf.log(r), tf.log(tf.add(r, 1))),
  },
} satisfies Record<string, Divergence>;

const loaded = new Map<string, { sha256: string; divergence: Divergence }>();

/** Whether an objective is the path of a module. */
export function isModule(objective: string): boolean {
  return /\.[cm]?[jt]s$/.test(objective);
}

/** The divergence of a module that was loaded before. */
export function loadedDivergence(file: string): Divergence {
  const known = loaded.get(path.resolve(file));
  if (!known) throw new Error(`internal: objective ${file} was not loaded`);
  return known.divergence;
}

/** Imports a module; each thread that computes with it does so, and again where the file has changed since. */
export async function loadDivergence(file: string): Promise<Divergence> {
  const full = path.resolve(file);
  const { sha256 } = await describeModule(full);
  const known = loaded.get(full);
  if (known?.sha256 === sha256) return known.divergence;
  // Under its digest: a trainer runs for weeks, and what was imported once under a name stays what it was.
  const module = (await import(`${pathToFileURL(full).href}?sha256=${sha256}`).catch((error: Error) => {
    throw refused(file, `it cannot be imported: ${error.message}`, 'mend it');
  })) as { default?: unknown };
  if (typeof module.default !== 'function')
    throw refused(file, 'it has no default export that is a function', 'export default (tf) => ({ h, derivative })');
  const made = make(file, module.default as DivergenceModule) as Partial<Divergence> | undefined;
  if (typeof made?.h !== 'function' || typeof made.derivative !== 'function')
    throw refused(file, 'its default export gives no h and derivative', 'return both, each of a tensor of ratios');
  const divergence = made as Divergence;
  loaded.set(full, { sha256, divergence });
  return divergence;
}

function make(file: string, module: DivergenceModule): Divergence {
  try {
    return module(tf);
  } catch (error) {
    throw refused(file, `its default export throws: ${(error as Error).message}`, 'mend it');
  }
}

/** What a package says of a module: its name and a digest of its content. */
export async function describeModule(file: string): Promise<{ name: string; sha256: string }> {
  const content = await readFile(file).catch((error: Error) => {
    throw refused(file, `it cannot be read: ${error.message}`, 'give the path of a module, .ts or .js');
  });
  return { name: path.basename(file), sha256: createHash('sha256').update(content).digest('hex') };
}

/** Ratios from e^-6 to e^6: what log-ratios of a policy near its reference are. */
const GRID = Array.from({ length: 97 }, (_, i) => Math.exp((i - 48) / 8));
const STEP = 1e-2;

/** Refuses an h that is not finite, not convex, or whose derivative is another function's. Needs a backend that computes. */
export function checkDivergence(file: string, { h, derivative }: Divergence): void {
  const values = (f: (r: tf.Tensor1D) => tf.Tensor1D, at: number[], name: string) => {
    const found = tf.tidy(() => apply(file, name, f, tf.tensor1d(at)));
    if (found.shape.join() !== String(at.length))
      throw refused(file, `${name} gives shape [${found.shape}] for [${at.length}]`, 'work element by element');
    return found.dataSync();
  };
  const slopes = values(derivative, GRID, 'derivative');
  const heights = values(h, GRID, 'h');
  const above = values(h, scaled(1 + STEP), 'h');
  const below = values(h, scaled(1 - STEP), 'h');
  for (const [i, r] of GRID.entries()) {
    const where = `at r = ${r.toPrecision(4)}`;
    if (!Number.isFinite(heights[i]) || !Number.isFinite(slopes[i]))
      throw refused(
        file,
        `${where} h is ${heights[i]} and its derivative ${slopes[i]}`,
        'both must be finite for r > 0',
      );
    const before = (heights[i]! - below[i]!) / (STEP * r);
    const after = (above[i]! - heights[i]!) / (STEP * r);
    // float32: what the difference of two heights can be off by, where an h cancels terms like r log r.
    const noise = (4e-7 * (Math.abs(heights[i]!) + 1 + r * (1 + Math.abs(Math.log(r))))) / (STEP * r);
    if (before > after + noise)
      throw refused(file, `${where} its slope falls, from ${before} to ${after}`, 'h must be convex');
    // A tangent of a convex h lies below it on both sides; where h has a kink, there are many.
    if (slopes[i]! < before - noise || slopes[i]! > after + noise)
      throw refused(
        file,
        `${where} derivative is ${slopes[i]}, but h rises by ${((before + after) / 2).toPrecision(4)}`,
        'mend one of them',
      );
    if (i > 0 && slopes[i]! < slopes[i - 1]! - 1e-5 * (1 + Math.abs(slopes[i]!)))
      throw refused(file, `${where} its slope falls, from ${slopes[i - 1]} to ${slopes[i]}`, 'h must be convex');
  }
  if (slopes.at(-1)! - slopes[0]! < 1e-6)
    throw refused(file, `its slope is ${slopes[0]} everywhere`, 'a straight line measures no divergence; bend it');
}

function apply(file: string, name: string, f: (r: tf.Tensor1D) => tf.Tensor1D, r: tf.Tensor1D): tf.Tensor1D {
  let found: unknown;
  try {
    found = f(r);
  } catch (error) {
    throw refused(file, `${name} throws: ${(error as Error).message}`, 'mend it');
  }
  if (!(found instanceof tf.Tensor))
    throw refused(file, `${name} gives no tensor`, 'write it with the operations of the tf that it is given');
  return found as tf.Tensor1D;
}

function scaled(factor: number): number[] {
  return GRID.map((r) => r * factor);
}

function refused(file: string, problem: string, remedy: string): AttuneError {
  return new AttuneError(`objective ${file}: ${problem}; ${remedy}`, { param: 'objective', code: 'invalid_objective' });
}
