// The log-sum-exp of logits, in double precision. ONNX Runtime's WebAssembly kernel adds up a row's exponentials one after
// the other in single precision: over 32,000 tokens that is off by 4e-5, enough for sampling to end at another token.

/** logits [rows, V] → [rows] */
export function computeLogNormalizers(logits: Float32Array, rows: number): Float32Array {
  const size = logits.length / rows;
  return Float32Array.from({ length: rows }, (_, row) => logSumExp(logits.subarray(row * size, (row + 1) * size)));
}

/** NaN if a logit is NaN. */
function logSumExp(logits: Float32Array): number {
  let peak = Number.NEGATIVE_INFINITY;
  for (const logit of logits) peak = Math.max(peak, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - peak);
  return peak + Math.log(sum);
}
