// llama.cpp, the reference for GGUF files: its tokens of a text and its likeliest continuation.
import { getLlama, type Llama, LlamaLogLevel, type Token } from 'node-llama-cpp';

let llama: Llama | undefined;

export type LlamaModel = {
  tokenize(text: string): number[];
  continueGreedily(ids: number[], count: number): Promise<number[]>;
  close(): Promise<void>;
};

export async function openLlamaModel(path: string): Promise<LlamaModel> {
  llama ??= await getLlama({ gpu: false, build: 'never', maxThreads: 1, logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  const { bos, shouldPrependBosToken } = model.tokens;
  return {
    tokenize: (text) => [...(shouldPrependBosToken ? [bos!] : []), ...model.tokenize(text, true)],
    async continueGreedily(ids, count) {
      const context = await model.createContext({ contextSize: ids.length + count + 1, threads: 1 });
      const tokens: number[] = [];
      const options = { temperature: 0, yieldEogToken: true };
      for await (const token of context.getSequence().evaluate(ids as Token[], options)) {
        tokens.push(token);
        if (tokens.length === count) break;
      }
      await context.dispose();
      return tokens;
    },
    close: () => model.dispose(),
  };
}

/** Ends llama.cpp's threads. */
export async function closeLlama(): Promise<void> {
  await llama?.dispose();
  llama = undefined;
}
