// Opens the engine that a machine and its settings ask for, in a thread of its own.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/safetensors.ts';
import { isModule } from '../divergence.ts';
import { type ObjectiveRequest, readObjective } from '../objectives.ts';
import { prepareTensorflow } from './devices/tensorflow/environment.ts';
import { defaultOptimizer, type Engine, type OptimizerSettings } from './engine.ts';
import type { Provider } from './execution-provider.ts';
import type { LoraSettings } from './lora.ts';
import { chooseMicroBatch, memoryBudget } from './memory-estimate.ts';
import { type EngineChoice, wantsTensorflow } from './select-device.ts';
import type { OpenOptions } from './worker.ts';
import { Remote } from './worker-rpc.ts';

export type EngineOptions = {
  architecture: Architecture;
  weights: Weights;
  objective: ObjectiveRequest;
  optimizer?: Partial<OptimizerSettings>;
  engine?: EngineChoice;
  provider?: Provider;
  threads?: number;
  /** Tokens computed at once, padding included; as many as the memory allows unless told. */
  microBatchTokens?: number;
  /** Bytes that training may take; half of what is free unless told. Refuses where that is too little. */
  memory?: number;
  lora?: LoraSettings | null;
  /** No gradient will be taken: less memory is needed. */
  scoreOnly?: boolean;
  /** Tokens of the longest prompt and response, so that what cannot fit is refused before anything has begun. */
  longest?: number;
};

export async function openEngine(options: EngineOptions): Promise<Engine> {
  const memory = memoryBudget(options.memory);
  const given: OpenOptions = {
    engine: options.engine ?? 'auto',
    architecture: options.architecture,
    weights: options.weights,
    objective: readObjective(options.objective),
    optimizer: { ...defaultOptimizer, ...options.optimizer },
    provider: options.provider ?? 'cpu',
    threads: options.threads ?? availableParallelism(),
    lora: options.lora,
    scoreOnly: options.scoreOnly,
    memory,
    microBatchTokens: options.microBatchTokens ?? chooseMicroBatch(options, memory),
  };
  // Only where there is one: it loads another backend.
  if (isModule(given.objective.objective))
    await (await import('./validate-objective.ts')).tryObjective(given.objective);
  if (wantsTensorflow(given.engine, given.provider)) prepareTensorflow(given.threads);
  const worker = new Worker(new URL('./worker.ts', import.meta.url));
  const remote = new Remote(worker, 'trainer engine');
  let name: string;
  try {
    name = await remote.call('open', given);
  } catch (error) {
    await remote.close();
    throw error;
  }
  return {
    name,
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
