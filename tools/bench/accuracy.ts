// How far a peer's distributions are from float32, on tokens fed as generation feeds them: the prompt at once, then one
// token at a time. That matters where a peer quantizes activations over all rows of a product together.
import { type FileHandle, open as openFile, readFile } from 'node:fs/promises';
import path from 'node:path';
import { compareDistributions, type Logits } from '../../shared/publish/compare-distributions.ts';
import type { Sequence, TextName } from './accuracy-text.ts';

/** On one text. */
export type TextAccuracy = {
  tokens: number;
  /** KL(float32 ‖ peer) in nats per token. */
  kl: number;
  /** Share of tokens whose likeliest token is that of float32. */
  greedyAgreement: number;
  perplexity: number;
  /** Of float32. */
  referencePerplexity: number;
};
export type Accuracy = Record<TextName, TextAccuracy>;

/** Feeds tokens after those of earlier calls and returns the logits [V] after the last one, up to a constant. */
export type FeedTokens = (tokens: number[]) => Promise<Float32Array>;
export type LogitsPeer = { startSequence(): Promise<FeedTokens>; close(): Promise<void> };

export const SEQUENCES_FILE = 'sequences.json';
/** Float32 logits [tokens, V], the tokens of all responses in order. */
export const LOGITS_FILE = 'logits.f32';

/** `reference`: a folder with sequences and their logits at float32. `open` gets the tokens of the longest sequence. */
export async function measureAccuracy(
  reference: string,
  open: (maxLength: number) => Promise<LogitsPeer>,
): Promise<Accuracy> {
  const sequences: Sequence[] = JSON.parse(await readFile(path.join(reference, SEQUENCES_FILE), 'utf8'));
  const lengths = sequences.map(({ promptIds, responseIds }) => promptIds.length + responseIds.length);
  const comparisons = { own: new Comparison(), real: new Comparison() };
  const file = await openFile(path.join(reference, LOGITS_FILE));
  const peer = await open(Math.max(...lengths));
  try {
    for (const { text, promptIds, responseIds } of sequences) {
      const feed = await peer.startSequence();
      let tokens = promptIds;
      for (const token of responseIds) {
        const logits = await feed(tokens);
        comparisons[text].add(token, await readRow(file, logits.length), logits);
        tokens = [token];
      }
    }
  } finally {
    await peer.close();
    await file.close();
  }
  return { own: comparisons.own.summarize(), real: comparisons.real.summarize() };
}

/** Over the tokens of both texts. */
export function pool({ own, real }: Accuracy): TextAccuracy {
  const tokens = own.tokens + real.tokens;
  const mean = (value: (text: TextAccuracy) => number) =>
    (own.tokens * value(own) + real.tokens * value(real)) / tokens;
  return {
    tokens,
    kl: mean(({ kl }) => kl),
    greedyAgreement: mean(({ greedyAgreement }) => greedyAgreement),
    perplexity: Math.exp(mean(({ perplexity }) => Math.log(perplexity))),
    referencePerplexity: Math.exp(mean(({ referencePerplexity }) => Math.log(referencePerplexity))),
  };
}

async function readRow(file: FileHandle, length: number): Promise<Float32Array> {
  const row = new Float32Array(length);
  const { bytesRead } = await file.read(new Uint8Array(row.buffer));
  if (bytesRead !== row.byteLength) throw new Error('internal: bench: the reference has fewer logits than the peer');
  return row;
}

class Comparison {
  private tokens = 0;
  private kl = 0;
  private agreed = 0;
  private readonly loss = { reference: 0, peer: 0 };

  add(token: number, reference: Float32Array, peer: Float32Array): void {
    const [p, q] = [normalize(reference), normalize(peer)];
    const { kl, isTop1Equal } = compareDistributions(p, q);
    this.tokens += 1;
    this.kl += kl;
    if (isTop1Equal) this.agreed += 1;
    this.loss.reference += p.normalizer - p.logits[token]!;
    this.loss.peer += q.normalizer - q.logits[token]!;
  }

  summarize(): TextAccuracy {
    const { tokens, kl, agreed, loss } = this;
    return {
      tokens,
      kl: kl / tokens,
      greedyAgreement: agreed / tokens,
      perplexity: Math.exp(loss.peer / tokens),
      referencePerplexity: Math.exp(loss.reference / tokens),
    };
  }
}

function normalize(logits: Float32Array): Logits {
  return { logits, normalizer: logSumExp(logits) };
}

export function logSumExp(logits: Float32Array): number {
  const peak = logits.reduce((most, logit) => Math.max(most, logit), Number.NEGATIVE_INFINITY);
  return peak + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - peak), 0));
}
