// The engine of every machine without an NVIDIA GPU: the decoder traced to ONNX and run by ONNX Runtime on the CPU, in
// a thread of its own.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Architecture } from '../../shared/policy/architecture.ts';
import type { Weights } from '../../shared/policy/safetensors.ts';
import { type ObjectiveRequest, readObjective } from '../objectives.ts';
import { defaultOptimizer, type Engine, type OptimizerSettings } from './engine.ts';
import type { LearnerOptions } from './learner.ts';
import { Remote } from './remote.ts';

export type OnnxEngineOptions = {
  architecture: Architecture;
  weights: Weights;
  objective: ObjectiveRequest;
  optimizer?: Partial<OptimizerSettings>;
  threads?: number;
  /** Tokens computed at once, padding included: more need more memory, fewer run slower. */
  microBatchTokens?: number;
};

export async function openOnnxEngine(options: OnnxEngineOptions): Promise<Engine> {
  const learner: LearnerOptions = {
    architecture: options.architecture,
    weights: options.weights,
    objective: readObjective(options.objective),
    optimizer: { ...defaultOptimizer, ...options.optimizer },
    threads: options.threads ?? availableParallelism(),
    microBatchTokens: options.microBatchTokens ?? 512,
  };
  const worker = new Worker(new URL('./worker.ts', import.meta.url));
  const remote = new Remote(worker, 'trainer engine');
  try {
    await remote.call('open', learner);
  } catch (error) {
    await remote.close();
    throw error;
  }
  return {
    name: 'onnx',
    score: (sequences) => remote.call('score', sequences),
    step: (pairs, learningRate) => remote.call('step', pairs, learningRate),
    evaluate: (pairs) => remote.call('evaluate', pairs),
    logits: (ids) => remote.call('logits', ids),
    weights: () => remote.call('weights'),
    save: (path) => remote.call('save', path),
    restore: (path) => remote.call('restore', path),
    close: () => remote.close(),
  };
}
