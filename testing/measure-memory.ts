// Measures the peak memory of an engine in a process of its own: node measure-memory.ts '{"purpose": …}'. Prints the
// bytes that it added to the process, and the bytes that were planned.
import { weightShapes } from '../shared/model/architecture.ts';
import type { Weights } from '../shared/model/tensor.ts';
import { packSequences } from '../trainer/engine/batch.ts';
import type { TrainPair } from '../trainer/engine/engine.ts';
import { estimateEngine } from '../trainer/engine/memory-estimate.ts';
import { openEngine } from '../trainer/engine/open-engine.ts';
import { estimateAttentionCost } from '../trainer/engine/packing.ts';
import { sizeOf } from '../trainer/engine/trace/symbolic-tensor.ts';
import { readProcessMemory } from './process-memory.ts';
import { tinyArchitecture } from './tiny-checkpoint.ts';

export type MemoryCase = { purpose: 'train' | 'score'; engine: 'onnx' | 'tensorflow'; loraRank: number; pairs: number };
export type MemoryResult = { peakBytes: number; plannedBytes: number };

const { purpose, engine: name, loraRank, pairs: count }: MemoryCase = JSON.parse(process.argv[2]!);
/** Not tiny: what grows with the policy and the batch outweighs the process itself. */
const architecture = tinyArchitecture({
  layers: 8,
  hiddenSize: 256,
  intermediateSize: 1024,
  heads: 4,
  kvHeads: 2,
  headDim: 64,
  vocabSize: 16_000,
  contextLength: 512,
});
const ids = (length: number, first: number) =>
  Array.from({ length }, (_, i) => (7 * first + 13 * i) % architecture.vocabSize);
const pairs: TrainPair[] = Array.from({ length: count }, (_, i) => ({
  chosen: { promptIds: ids(32, i), responseIds: ids(64, i + 100) },
  rejected: { promptIds: ids(32, i), responseIds: ids(64, i + 200) },
  refChosenLogps: new Float32Array(64).fill(-9),
  refRejectedLogps: new Float32Array(64).fill(-9),
}));
const sequences = [...pairs.map(({ chosen }) => chosen), ...pairs.map(({ rejected }) => rejected)];
const lora = loraRank > 0 ? { rank: loraRank, alpha: loraRank, targets: ['q_proj', 'down_proj'] } : null;
const options = { architecture, lora, engine: name, scoreOnly: purpose === 'score' };
const { bucket } = packSequences(sequences, {
  reduction: 'mean',
  attentionCost: estimateAttentionCost(architecture),
});

const weights: Weights = new Map();
for (const [tensor, shape] of weightShapes(architecture))
  weights.set(tensor, { shape, data: new Float32Array(sizeOf(shape)).fill(shape.length === 1 ? 1 : 0.01) });
const before = await readProcessMemory('VmRSS');
const engine = await openEngine({ ...options, weights, objective: {}, threads: 2, microBatchTokens: 1 << 20 });
if (purpose === 'score') await engine.score(sequences);
else {
  await engine.evaluate(pairs);
  for (let step = 0; step < 2; step++) await engine.step(pairs, 1e-6);
}
const result: MemoryResult = {
  peakBytes: (await readProcessMemory('VmHWM')) - before,
  plannedBytes: estimateEngine(options, { step: [bucket], forward: [bucket] }),
};
await engine.close();
console.log(JSON.stringify(result));
