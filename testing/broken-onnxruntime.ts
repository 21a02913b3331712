// Replaces onnxruntime-web in a test: a runtime that does not start.
export const env = { wasm: {} };

export const InferenceSession = {
  create: () => Promise.reject(new Error('it is broken')),
};
