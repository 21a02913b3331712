// How much of a policy a precision keeps: both graphs read the same text, which the float32 policy writes by itself, and
// their next-token distributions are compared at every step, through the same decoder and cache that serve. Text of the
// model is what it will be asked for, and needs no data set.
import { Tensor } from 'onnxruntime-node';
import { Decoder, type DecoderOutput } from '../decoder/decoder.ts';
import { seedRandom } from '../decoder/random.ts';
import { NEUTRAL_SAMPLING, sampleToken } from '../decoder/sampling.ts';
import { openSession } from '../decoder/session.ts';
import type { Architecture } from '../model/architecture.ts';

export type PrecisionReport = {
  /** exp of the mean negative log-probability of the text. */
  perplexity: number;
  /** How often the likeliest token is float32's. */
  greedy_agreement: number;
  /** KL(float32 ‖ this) of the next-token distributions, the mean, in nats. */
  kl: number;
  tokens: number;
};

const ROWS = 16;
const STEPS = 64;

/** Compares two serving graphs, float32's and another, by the paths of their .onnx files. */
export async function comparePrecisions(
  architecture: Architecture,
  reference: string,
  candidate: string,
): Promise<{ reference: PrecisionReport; candidate: PrecisionReport }> {
  const open = async (path: string) => new Decoder(await openSession(path), Tensor, architecture);
  const decoders = [await open(reference), await open(candidate)] as const;
  try {
    return await compare(architecture, decoders[0], decoders[1]);
  } finally {
    for (const decoder of decoders) await decoder.release();
  }
}

async function compare(architecture: Architecture, reference: Decoder, candidate: Decoder) {
  const { vocabSize, bos, contextLength } = architecture;
  const caches = [reference.createCache(), candidate.createCache()] as const;
  for (const cache of caches) for (let row = 0; row < ROWS; row++) cache.addRow();
  const randoms = Array.from({ length: ROWS }, (_, row) => seedRandom(0, row));
  let tokens: number[] = Array.from({ length: ROWS }, () => bos ?? 0);
  const steps = Math.min(STEPS, contextLength);
  const sums = { reference: 0, candidate: 0, agreed: 0, kl: 0 };
  for (let step = 0; step < steps; step++) {
    const fed = tokens.map((token) => [token]);
    const expected = await reference.forward(caches[0], fed);
    const found = await candidate.forward(caches[1], fed);
    tokens = randoms.map((random, row) => {
      const own = logitsOf(expected, row, vocabSize);
      const other = logitsOf(found, row, vocabSize);
      const token = sampleToken(own.logits, own.normalizer, NEUTRAL_SAMPLING, new Map(), random);
      sums.reference -= own.logits[token]! - own.normalizer;
      sums.candidate -= other.logits[token]! - other.normalizer;
      const { kl, isSame } = divergence(own, other);
      sums.kl += kl;
      if (isSame) sums.agreed++;
      return token;
    });
  }
  const count = steps * ROWS;
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

type Logits = { logits: Float32Array; normalizer: number };

function logitsOf({ logits, logNormalizers }: DecoderOutput, row: number, vocabSize: number): Logits {
  return { logits: logits.subarray(row * vocabSize, (row + 1) * vocabSize), normalizer: logNormalizers[row]! };
}

/** Σ p (log p − log q), and whether both have the same likeliest token. */
function divergence(p: Logits, q: Logits): { kl: number; isSame: boolean } {
  let kl = 0;
  let bestP = 0;
  let bestQ = 0;
  for (let token = 0; token < p.logits.length; token++) {
    const logprob = p.logits[token]! - p.normalizer;
    kl += Math.exp(logprob) * (logprob - (q.logits[token]! - q.normalizer));
    if (p.logits[token]! > p.logits[bestP]!) bestP = token;
    if (q.logits[token]! > q.logits[bestQ]!) bestQ = token;
  }
  return { kl, isSame: bestP === bestQ };
}
