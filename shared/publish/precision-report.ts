// Compares a precision with float32: perplexity, KL and top-1 agreement on text that the float32 policy samples, computed
// with the decoder and cache that serve. The policy's own text resembles what it will generate and needs no data set.
import { Tensor } from 'onnxruntime-node';
import { Decoder, type DecoderOutput } from '../decoder/decoder.ts';
import { seedRandom } from '../decoder/random.ts';
import { NEUTRAL_SAMPLING, sampleToken } from '../decoder/sampling.ts';
import { openSession } from '../decoder/session.ts';
import type { Architecture } from '../model/architecture.ts';
import type { PrecisionReport } from '../package/manifest.ts';
import { compareDistributions, type Logits } from './compare-distributions.ts';

type StepListener = (done: number, total: number) => void;

const SEQUENCES = 16;
const STEPS = 64;

/**
 * Compares two serving graphs, given by the paths of their .onnx files; `reference` is the float32 one. What `onStep` throws
 * ends the comparison.
 */
export async function comparePrecisions(
  architecture: Architecture,
  reference: string,
  candidate: string,
  onStep: StepListener = () => {},
): Promise<{ reference: PrecisionReport; candidate: PrecisionReport }> {
  const open = async (path: string) => new Decoder(await openSession(path), Tensor, architecture);
  const decoders = [await open(reference), await open(candidate)] as const;
  try {
    return await compare(architecture, decoders[0], decoders[1], onStep);
  } finally {
    for (const decoder of decoders) await decoder.release();
  }
}

async function compare(architecture: Architecture, reference: Decoder, candidate: Decoder, onStep: StepListener) {
  const { vocabSize, bos, contextLength } = architecture;
  const caches = [reference.createCache(), candidate.createCache()] as const;
  for (const cache of caches) for (let row = 0; row < SEQUENCES; row++) cache.addRow();
  const randoms = Array.from({ length: SEQUENCES }, (_, row) => seedRandom(0, row));
  let tokens: number[] = Array.from({ length: SEQUENCES }, () => bos ?? 0);
  const steps = Math.min(STEPS, contextLength);
  const sums = { reference: 0, candidate: 0, agreed: 0, kl: 0 };
  for (let step = 0; step < steps; step++) {
    const fed = tokens.map((token) => [token]);
    const referenceOutput = await reference.forward(caches[0], fed);
    const candidateOutput = await candidate.forward(caches[1], fed);
    tokens = randoms.map((random, row) => {
      const p = rowLogits(referenceOutput, row, vocabSize);
      const q = rowLogits(candidateOutput, row, vocabSize);
      const token = sampleToken(p.logits, p.normalizer, NEUTRAL_SAMPLING, new Map(), random);
      sums.reference -= p.logits[token]! - p.normalizer;
      sums.candidate -= q.logits[token]! - q.normalizer;
      const { kl, isTop1Equal } = compareDistributions(p, q);
      sums.kl += kl;
      if (isTop1Equal) sums.agreed++;
      return token;
    });
    onStep(step + 1, steps);
  }
  const count = steps * SEQUENCES;
  return {
    reference: { perplexity: Math.exp(sums.reference / count), greedy_agreement: 1, kl: 0, tokens: count },
    candidate: {
      perplexity: Math.exp(sums.candidate / count),
      greedy_agreement: sums.agreed / count,
      kl: sums.kl / count,
      tokens: count,
    },
  };
}

function rowLogits({ logits, logNormalizers }: DecoderOutput, row: number, vocabSize: number): Logits {
  return { logits: logits.subarray(row * vocabSize, (row + 1) * vocabSize), normalizer: logNormalizers[row]! };
}
