// The rate at which this machine multiplies float32 matrices of the sizes that a step has, whoever does it best: ONNX
// Runtime through our own binding or PyTorch, in small batches or in large ones. No trainer can be quicker.
import type { Architecture } from '../../shared/model/architecture.ts';
import { type Program, runProgram } from './train-program.ts';
import { flopsOfProduct, listProducts, type Product } from './train-work.ts';

export type ProductsPlan = { products: Product[]; threads: number; repeats: number };

/** Operations per second: of the best, and of each library alone. */
export type Ceiling = { best: number; by: Record<string, number> };

const ROWS = [512, 2048];
const REPEATS = 5;

export async function measureCeiling(
  libraries: Record<string, Program>,
  architecture: Architecture,
  responseShare: number,
  threads: number,
): Promise<Ceiling> {
  const sizes = ROWS.map((rows) => listProducts(architecture, rows, responseShare));
  const plan: ProductsPlan = { products: sizes.flat(), threads, repeats: REPEATS };
  const seconds: Record<string, number[]> = {};
  for (const [name, program] of Object.entries(libraries)) {
    const outcome = await runProgram<{ seconds: number[] }>(program, plan);
    seconds[name] = outcome.seconds;
  }
  return judgeCeiling(sizes, seconds);
}

/** From what each library took for the products of each size, one after the other. */
export function judgeCeiling(sizes: Product[][], seconds: Record<string, number[]>): Ceiling {
  const products = sizes.flat();
  const kinds = sizes[0]!.length;
  // For each kind of product the best rate of any size; then the time that one step of the last size would take.
  const rateOf = (names: string[]) => {
    const last = sizes.at(-1)!;
    const time = last.reduce((sum, product, kind) => {
      const rates = names.flatMap((name) =>
        sizes.map((_, size) => flopsOfProduct(products[size * kinds + kind]!) / seconds[name]![size * kinds + kind]!),
      );
      return sum + (product.count * flopsOfProduct(product)) / Math.max(...rates);
    }, 0);
    return last.reduce((sum, product) => sum + product.count * flopsOfProduct(product), 0) / time;
  };
  const names = Object.keys(seconds);
  return { best: rateOf(names), by: Object.fromEntries(names.map((name) => [name, rateOf([name])])) };
}
