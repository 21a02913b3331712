// Checks that a policy's package can serve: its tokenizer belongs to it, and its graph computes finite logits. No imports
// from Node, because the Worker uses it too.
import type { Decoder } from '../../shared/decoder/decoder.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';

/** Checked because with another policy's tokenizer a policy still generates, but nonsense. */
export function validateTokenizer(tokenizer: Tokenizer, { vocabSize }: Architecture, expectedHash?: string): void {
  const remedy = 'this is another tokenizer; publish the policy again with its own';
  if (tokenizer.size > vocabSize) {
    throw new AttuneError(
      `tokenizer.json has ${tokenizer.size} tokens, the policy's vocabulary has ${vocabSize}; ${remedy}`,
    );
  }
  if (expectedHash !== undefined && tokenizer.hash !== expectedHash) {
    throw new AttuneError(`tokenizer.json has hash ${tokenizer.hash}, policy.json expects ${expectedHash}; ${remedy}`);
  }
}

/**
 * Runs a prefill and a decoding step, because a damaged model can load and only then compute NaN. Throws if the logits
 * are not finite or do not have the vocabulary size of config.json.
 */
export async function warmUp(decoder: Decoder): Promise<void> {
  const { vocabSize, bos } = decoder.architecture;
  const cache = decoder.createCache();
  cache.addRow();
  for (const tokens of [[bos ?? 0, 0], [vocabSize - 1]]) {
    const { logits, logNormalizers } = await decoder.forward(cache, [tokens]);
    if (logits.length !== vocabSize) {
      throw new Error(`it computes ${logits.length} logits, config.json has a vocabulary of ${vocabSize}`);
    }
    if (!Number.isFinite(logNormalizers[0]) || !logits.every(Number.isFinite)) {
      throw new Error('its logits are not finite');
    }
  }
}
