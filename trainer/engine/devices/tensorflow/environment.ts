// What TensorFlow reads from the environment when it is loaded. A worker's environment is a copy that libraries do not
// see, so this is done in the main thread, before.

/** What is set already stays as it is. */
export function prepareTensorflow(threads: number, env = process.env): void {
  const wishes = {
    TF_CPP_MIN_LOG_LEVEL: '2',
    TF_NUM_INTRAOP_THREADS: String(threads),
    // Else one process takes the whole GPU, and what else there is does not fit beside it.
    TF_FORCE_GPU_ALLOW_GROWTH: 'true',
    // TF32 has 10 bits of mantissa; exported graphs are held against the trainer's own logits within 1e-4.
    NVIDIA_TF32_OVERRIDE: '0',
  };
  for (const [name, value] of Object.entries(wishes)) env[name] ??= value;
}
