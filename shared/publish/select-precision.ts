// Which precision a policy is served at: the one that is wanted, or the next better one that does not harm it. What each
// keeps of float32 is measured, and written into the manifest whether it was taken or not.
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AttuneError } from '../error.ts';
import type { Architecture } from '../model/architecture.ts';
import type { Weights } from '../model/safetensors.ts';
import { PRECISIONS } from '../onnx/precision/precisions.ts';
import { SERVE_DATA, SERVE_GRAPH, writeServingGraph } from '../onnx/write-graphs.ts';
import type { PrecisionReport } from '../package/manifest.ts';
import type { PrecisionName } from '../precision-name.ts';
import { comparePrecisions } from './precision-report.ts';

/** From the one that keeps least to the one that keeps all. */
const LADDER: PrecisionName[] = ['int4', 'row8', 'int8', 'fp32'];

/** Above either of these a precision is nobody's default: nats per token, and times float32's perplexity. */
export const MOST_HARM = { kl: 0.02, perplexity: 1.02 };

export type Serving = { precision: PrecisionName; accuracy: Partial<Record<PrecisionName, PrecisionReport>> };

/**
 * Replaces the float32 serving graph in a package's onnx folder by the first precision, from the wanted one upwards,
 * that does no harm. `isDemanded` takes the wanted one whatever it does.
 */
export async function choosePrecision(
  onnx: string,
  architecture: Architecture,
  weights: Weights,
  wanted: PrecisionName,
  isDemanded = false,
): Promise<Serving> {
  const accuracy: Serving['accuracy'] = {};
  for (const precision of LADDER.slice(LADDER.indexOf(wanted), -1)) {
    const refusal = refuse(precision, architecture);
    if (refusal && isDemanded) throw new AttuneError(`precision: ${refusal}; take another`, { param: 'precision' });
    if (refusal) continue;
    const candidate = join(onnx, precision);
    await mkdir(candidate);
    await writeServingGraph(candidate, architecture, weights, precision);
    const measured = await comparePrecisions(architecture, join(onnx, SERVE_GRAPH), join(candidate, SERVE_GRAPH));
    if (!Number.isFinite(measured.reference.perplexity)) {
      const problem = 'weights: at float32 they give log-probabilities that are not finite; the checkpoint is damaged';
      throw new AttuneError(problem, { param: 'weights', code: 'invalid_policy' });
    }
    accuracy.fp32 = measured.reference;
    // JSON has no NaN; what is not finite harms, and is not taken unless somebody insists.
    if (Number.isFinite(measured.candidate.kl)) accuracy[precision] = measured.candidate;
    const isTaken = isDemanded || isHarmless(measured.candidate, measured.reference);
    if (isTaken) for (const file of [SERVE_GRAPH, SERVE_DATA]) await rename(join(candidate, file), join(onnx, file));
    await rm(candidate, { recursive: true });
    if (isTaken) return { precision, accuracy };
  }
  return { precision: 'fp32', accuracy };
}

function refuse(
  precision: PrecisionName,
  { hiddenSize, intermediateSize, heads, headDim }: Architecture,
): string | null {
  const { checkInputs: refuse } = PRECISIONS[precision];
  return refuse(hiddenSize) ?? refuse(intermediateSize) ?? refuse(heads * headDim);
}

/** Comparisons are written so that NaN is harm. */
function isHarmless(found: PrecisionReport, reference: PrecisionReport): boolean {
  return found.kl <= MOST_HARM.kl && found.perplexity <= reference.perplexity * MOST_HARM.perplexity;
}
