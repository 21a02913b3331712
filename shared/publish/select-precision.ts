// Selects the precision that a policy is served at: the requested one, or the next more accurate one whose loss against
// float32 is acceptable. The manifest keeps the report of every precision that was measured.
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AttuneError } from '../error.ts';
import type { Architecture } from '../model/architecture.ts';
import type { LazyWeights } from '../model/tensor.ts';
import { PRECISIONS } from '../onnx/precision/precisions.ts';
import { SCORE_GRAPH, SERVE_GRAPH, writeServingGraph } from '../onnx/write-graphs.ts';
import type { Manifest, PrecisionReport } from '../package/manifest.ts';
import type { PrecisionName } from '../precision-name.ts';
import { comparePrecisions } from './precision-report.ts';
import { type PublishListener, reportReads } from './progress.ts';

/** From least to most accurate. */
const PRECISIONS_BY_ACCURACY: PrecisionName[] = ['int4', 'row8', 'int8', 'fp32'];

/** Maximum loss of a precision against float32: KL in nats per token, and perplexity as a factor. */
const MAX_LOSS = { kl: 0.02, perplexity: 1.02 };

/**
 * Replaces the float32 serving graph in a package's onnx folder by the first acceptable precision, from the requested one
 * upwards; it becomes the graph that scores given responses. `isForced` accepts the requested one regardless of its loss;
 * what `onProgress` throws ends the selection.
 */
export async function selectPrecision(
  onnx: string,
  architecture: Architecture,
  weights: LazyWeights,
  requested: PrecisionName,
  isForced = false,
  onProgress: PublishListener = () => {},
): Promise<Manifest['serving']> {
  const accuracy: Manifest['serving']['accuracy'] = {};
  for (const precision of PRECISIONS_BY_ACCURACY.slice(PRECISIONS_BY_ACCURACY.indexOf(requested), -1)) {
    const problem = checkShapes(precision, architecture);
    if (problem && isForced) throw new AttuneError(`precision: ${problem}; use another`, { param: 'precision' });
    if (problem) continue;
    const candidate = join(onnx, precision);
    await mkdir(candidate);
    const reported = reportReads(weights, `writing serve.onnx at ${precision}`, onProgress);
    await writeServingGraph(candidate, architecture, reported, PRECISIONS[precision]);
    const measured = await comparePrecisions(
      architecture,
      join(onnx, SERVE_GRAPH),
      join(candidate, SERVE_GRAPH),
      (done, total) => onProgress({ stage: `comparing ${precision} with float32`, done, total }),
    );
    if (!Number.isFinite(measured.reference.perplexity)) {
      const message = 'weights: log-probabilities are not finite at float32; the checkpoint is damaged';
      throw new AttuneError(message, { param: 'weights', code: 'invalid_policy' });
    }
    accuracy.fp32 = measured.reference;
    // JSON has no NaN: a report that is not finite is left out.
    if (Number.isFinite(measured.candidate.kl)) accuracy[precision] = measured.candidate;
    const isSelected = isForced || isAcceptable(measured.candidate, measured.reference);
    if (isSelected) await rename(join(onnx, SERVE_GRAPH), join(onnx, SCORE_GRAPH));
    if (isSelected) for (const file of await readdir(candidate)) await rename(join(candidate, file), join(onnx, file));
    await rm(candidate, { recursive: true });
    if (isSelected) return { precision, accuracy };
  }
  return { precision: 'fp32', accuracy };
}

function checkShapes(
  precision: PrecisionName,
  { hiddenSize, intermediateSize, heads, headDim }: Architecture,
): string | null {
  const { checkInputs } = PRECISIONS[precision];
  return checkInputs(hiddenSize) ?? checkInputs(intermediateSize) ?? checkInputs(heads * headDim);
}

/** False for NaN. */
function isAcceptable(report: PrecisionReport, reference: PrecisionReport): boolean {
  return report.kl <= MAX_LOSS.kl && report.perplexity <= reference.perplexity * MAX_LOSS.perplexity;
}
