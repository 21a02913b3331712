// Why a policy's package cannot serve, said in the same way whoever finds it. Knows no file system, so that a Worker says
// it too.
import type { Decoder } from '../../shared/decoder/decoder.ts';
import { AttuneError } from '../../shared/error.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Tokenizer } from '../../shared/tokenizer/tokenizer.ts';

export function policyUnusable(id: string, problem: string): AttuneError {
  return new AttuneError(`policy ${id} cannot serve: ${problem}`, { status: 422, code: 'policy_unusable' });
}

/** With another policy's tokenizer a policy answers all the same, in nonsense. */
export function validateTokenizer(tokenizer: Tokenizer, { vocabSize }: Architecture, expectedHash?: string): void {
  const remedy = 'this is another tokenizer; publish the policy again with its own';
  if (tokenizer.size > vocabSize) {
    throw new AttuneError(`tokenizer.json has ${tokenizer.size} tokens, the policy knows ${vocabSize}; ${remedy}`);
  }
  if (expectedHash !== undefined && tokenizer.hash !== expectedHash) {
    throw new AttuneError(`tokenizer.json has hash ${tokenizer.hash}, policy.json says ${expectedHash}; ${remedy}`);
  }
}

/** Throws where what comes out is not what config.json says, or not finite. */
export async function warmUp(decoder: Decoder): Promise<void> {
  const { vocabSize, bos } = decoder.architecture;
  const cache = decoder.createCache();
  cache.addRow();
  for (const tokens of [[bos ?? 0, 0], [vocabSize - 1]]) {
    const { logits, logNormalizers } = await decoder.forward(cache, [tokens]);
    if (logits.length !== vocabSize) throw new Error(`it has ${logits.length} logits, config.json says ${vocabSize}`);
    if (!Number.isFinite(logNormalizers[0]) || !logits.every(Number.isFinite)) {
      throw new Error('its logits are not finite');
    }
  }
}
