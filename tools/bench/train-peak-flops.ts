// The machine's peak float32 matrix multiplication rate at the sizes of a training step: the fastest of ONNX Runtime,
// PyTorch and, where it is installed, TensorFlow, over small and large batches. An upper bound for any trainer.
import type { Architecture } from '../../shared/model/architecture.ts';
import { type PeerScript, runTrainingPeer } from './run-training-peer.ts';
import { listMatmuls, type Matmul, matmulFlops } from './train-flops.ts';

export type MatmulPlan = { matmuls: Matmul[]; threads: number; repeats: number };

/** Operations per second: with the fastest library for each matmul, and with each library alone. */
export type PeakFlops = { best: number; byLibrary: Record<string, number> };

const ROWS = [512, 2048];
const REPEATS = 5;

export async function measurePeakFlops(
  libraries: Record<string, PeerScript>,
  architecture: Architecture,
  responseShare: number,
  threads: number,
): Promise<PeakFlops> {
  const sizes = ROWS.map((rows) => listMatmuls(architecture, rows, responseShare));
  const plan: MatmulPlan = { matmuls: sizes.flat(), threads, repeats: REPEATS };
  const seconds: Record<string, number[]> = {};
  for (const [name, program] of Object.entries(libraries)) {
    const outcome = await runTrainingPeer<{ seconds: number[] }>(program, plan);
    seconds[name] = outcome.seconds;
  }
  return computePeakFlops(sizes, seconds);
}

/** `seconds`: each library's time for every matmul of every size, in order. */
export function computePeakFlops(sizes: Matmul[][], seconds: Record<string, number[]>): PeakFlops {
  const all = sizes.flat();
  const kinds = sizes[0]!.length;
  // The best rate of each matmul over all sizes; then the time of one step of the last size at these rates.
  const rateOf = (names: string[]) => {
    const last = sizes.at(-1)!;
    const time = last.reduce((sum, matmul, kind) => {
      const rates = names.flatMap((name) =>
        sizes.map((_, size) => matmulFlops(all[size * kinds + kind]!) / seconds[name]![size * kinds + kind]!),
      );
      return sum + (matmul.count * matmulFlops(matmul)) / Math.max(...rates);
    }, 0);
    return last.reduce((sum, matmul) => sum + matmul.count * matmulFlops(matmul), 0) / time;
  };
  const names = Object.keys(seconds);
  return { best: rateOf(names), byLibrary: Object.fromEntries(names.map((name) => [name, rateOf([name])])) };
}
