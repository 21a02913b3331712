// The sequences that decode together. Each is one row of a KV cache, and each step samples one token per sequence.
// Sequences join and leave between steps; every sum of a row is over that row alone. A given response is such a sequence too
// if its graph is older than chunks of logits (prefill.ts): its tokens are taken in turn instead of sampled.
import type { Decoder } from '../../shared/decoder/decoder.ts';
import type { KvCache } from '../../shared/decoder/kv-cache.ts';
import { seedRandom } from '../../shared/decoder/random.ts';
import { sampleToken, selectTopLogprobs, type TokenLogprob } from '../../shared/decoder/sampling.ts';
import { allowsNone } from '../../shared/decoder/token-mask.ts';
import { AttuneError, getErrorMessage } from '../../shared/error.ts';
import type { Constraint, Constraints } from '../grammar/constraint.ts';
import { collectKvBlocks, type Prefix } from './prefix-cache.ts';
import type { Choice, EngineEvent } from './request.ts';

type Sequence = {
  choice: Choice;
  random: () => number;
  /** How often each token was generated, for the penalties. */
  counts: Map<number, number>;
  generatedTokens: number;
  lastToken: number;
  /** What the text may be; null: anything. */
  constraint: Constraint | null;
};

type DecodeBatchOptions = { kvMemoryBytes: number; maxLength: number; constraints: Constraints | undefined };

export class DecodeBatch {
  readonly cache: KvCache;
  private readonly decoder: Decoder;
  private readonly emit: (event: EngineEvent) => void;
  /** sequences[i] is row i of the cache. */
  private readonly sequences: Sequence[] = [];
  private readonly eosTokens: Set<number>;
  /** Tokens of prompt and completion together. */
  private readonly maxLength: number;
  private readonly constraints: Constraints | undefined;

  constructor(
    decoder: Decoder,
    { kvMemoryBytes, maxLength, constraints }: DecodeBatchOptions,
    emit: (event: EngineEvent) => void,
  ) {
    this.decoder = decoder;
    this.emit = emit;
    this.maxLength = maxLength;
    this.constraints = constraints;
    this.cache = decoder.createCache(kvMemoryBytes);
    this.eosTokens = new Set(decoder.architecture.eos);
  }

  get size(): number {
    return this.sequences.length;
  }

  get choices(): Choice[] {
    return this.sequences.map(({ choice }) => choice);
  }

  /** Samples a choice's first token from its prompt's logits, and adds it as a sequence unless that token ends it. */
  add(choice: Choice, prefix: Prefix): void {
    const random = seedRandom(choice.request.sampling.seed, choice.index);
    const sequence: Sequence = {
      choice,
      random,
      counts: new Map(),
      generatedTokens: 0,
      lastToken: 0,
      constraint: null,
    };
    if (!this.sampleNext(sequence, prefix.logits, prefix.logNormalizer)) return;
    const row = this.cache.addRow(choice.request.promptIds.length);
    for (const block of collectKvBlocks(prefix)) this.cache.appendBlock(row, block);
    this.sequences.push(sequence);
  }

  async decode(): Promise<void> {
    if (this.sequences.length === 0) return;
    const { vocabSize } = this.decoder.architecture;
    try {
      const { logits, logNormalizers } = await this.decoder.forward(
        this.cache,
        this.sequences.map(({ lastToken }) => [lastToken]),
      );
      // Backwards, because removing a row moves the last row into its place.
      for (let row = this.sequences.length - 1; row >= 0; row--) {
        const rowLogits = logits.subarray(row * vocabSize, (row + 1) * vocabSize);
        const logNormalizer = logNormalizers[row]!;
        if (!this.sampleNext(this.sequences[row]!, rowLogits, logNormalizer)) {
          this.removeSequence(row, { wipe: !Number.isFinite(logNormalizer) });
        }
      }
    } catch (error) {
      for (let row = this.sequences.length - 1; row >= 0; row--) {
        this.fail(this.sequences[row]!.choice, error);
        this.removeSequence(row, { wipe: true });
      }
    }
  }

  remove(shouldRemove: (choice: Choice) => boolean): void {
    for (let row = this.sequences.length - 1; row >= 0; row--) {
      if (shouldRemove(this.sequences[row]!.choice)) this.removeSequence(row);
    }
  }

  /** Samples a sequence's next token from logits [V]; returns false if the sequence has ended. */
  private sampleNext(sequence: Sequence, logits: Float32Array, logNormalizer: number): boolean {
    try {
      return this.samplePossible(sequence, logits, logNormalizer);
    } catch (error) {
      this.fail(sequence.choice, error);
      return false;
    }
  }

  /** Throws if the sequence cannot go on. */
  private samplePossible(sequence: Sequence, logits: Float32Array, logNormalizer: number): boolean {
    const { request, index } = sequence.choice;
    const { sampling, response } = request;
    if (!Number.isFinite(logNormalizer)) throw new Error('the logits are not finite');
    const limit = Math.min(sampling.maxTokens, this.maxLength - request.promptIds.length);
    if (sequence.generatedTokens >= limit) return this.finish(sequence.choice, 'length');
    const constraint = this.openConstraint(sequence);
    const mask = constraint?.getMask() ?? null;
    // The text is complete, and the policy has no token that says so.
    if (mask && allowsNone(mask)) return this.finish(sequence.choice, 'stop');
    const tokenId =
      response?.[sequence.generatedTokens] ??
      sampleToken(logits, logNormalizer, sampling, sequence.counts, sequence.random, mask);
    const logprob = logits[tokenId]! - logNormalizer;
    if (!response && this.eosTokens.has(tokenId)) return this.finish(sequence.choice, 'stop', { tokenId, logprob });

    constraint?.advance(tokenId);
    const topLogprobs = selectTopLogprobs(logits, logNormalizer, sampling.topLogprobs);
    this.emit({ type: 'token', id: request.id, index, tokenId, logprob, topLogprobs });
    sequence.counts.set(tokenId, (sequence.counts.get(tokenId) ?? 0) + 1);
    sequence.lastToken = tokenId;
    sequence.generatedTokens++;
    // Checked again here, so that a sequence at its limit does not take part in one more step.
    return sequence.generatedTokens < limit || this.finish(sequence.choice, 'length');
  }

  private finish({ request, index }: Choice, finishReason: 'stop' | 'length', stop: TokenLogprob | null = null): false {
    this.emit({ type: 'finish', id: request.id, index, finishReason, stop });
    return false;
  }

  private fail({ request, index }: Choice, error: unknown): void {
    const message = getErrorMessage(error);
    const { status, param, code } = error instanceof AttuneError ? error : {};
    const details = status === undefined ? {} : { details: { status, param, code } };
    this.emit({ type: 'failed', id: request.id, index, message, ...details });
  }

  private openConstraint(sequence: Sequence): Constraint | null {
    const { grammar } = sequence.choice.request;
    if (grammar) sequence.constraint ??= this.constraints!.open(grammar);
    return sequence.constraint;
  }

  private removeSequence(row: number, options: { wipe?: boolean } = {}): void {
    const last = this.sequences.pop()!;
    if (row < this.sequences.length) this.sequences[row] = last;
    this.cache.removeRow(row, options);
  }
}
