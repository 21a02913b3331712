// A prefill and a step, as in service: a damaged model can load and only then compute NaN.
import type { Decoder } from '../../shared/decoder/decoder.ts';

/** Throws where what comes out is not what config.json says, or not finite. */
export async function warmUp(decoder: Decoder): Promise<void> {
  const { vocabSize, bos } = decoder.architecture;
  const cache = decoder.createCache();
  cache.addRow();
  for (const tokens of [[bos ?? 0, 0], [vocabSize - 1]]) {
    const { logits, logNormalizers } = await decoder.run(cache, [tokens]);
    if (logits.length !== vocabSize) throw new Error(`it has ${logits.length} logits, config.json says ${vocabSize}`);
    if (!Number.isFinite(logNormalizers[0]) || !logits.every(Number.isFinite)) {
      throw new Error('its logits are not finite');
    }
  }
}
