// Opens the engine that the settings and the hardware select, in its own thread.
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { isObjectiveModule } from '../../shared/hyperparameters.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { buffersOf, type Weights } from '../../shared/model/tensor.ts';
import { type ObjectiveInput, parseObjective } from '../objectives.ts';
import { setTensorflowEnvironment } from './devices/tensorflow/addon.ts';
import { DEFAULT_OPTIMIZER, type Engine, type OptimizerSettings } from './engine.ts';
import type { ExecutionProvider } from './execution-provider.ts';
import type { LoraConfig } from './lora.ts';
import { chooseMicroBatchTokens, resolveMemoryBudget } from './memory-estimate.ts';
import { type EngineChoice, needsTensorflow } from './select-device.ts';
import type { OpenOptions } from './worker.ts';
import { WorkerClient } from './worker-rpc.ts';

export type EngineOptions = {
  architecture: Architecture;
  /** Or the folder of the checkpoint, which the engine then reads in its own thread. */
  weights: Weights | string;
  /** Moves the weights to the engine's thread instead of copying them; the caller's arrays are empty afterwards. */
  movesWeights?: boolean;
  objective: ObjectiveInput;
  optimizer?: Partial<OptimizerSettings>;
  engine?: EngineChoice;
  provider?: ExecutionProvider;
  threads?: number;
  /** Tokens of a micro-batch, padding included. Default: as many as fit in memory. */
  microBatchTokens?: number;
  /**
   * Bytes that training may use. Default: half of free memory. Throws `too_little_memory` if they are not enough.
   */
  memoryBytes?: number;
  lora?: LoraConfig | null;
  /** Only scores, which needs less memory. */
  scoreOnly?: boolean;
};

export async function openEngine(options: EngineOptions): Promise<Engine> {
  const memoryBytes = resolveMemoryBudget(options.memoryBytes);
  const resolved: OpenOptions = {
    engine: options.engine ?? 'auto',
    architecture: options.architecture,
    weights: options.weights,
    objective: parseObjective(options.objective),
    optimizer: { ...DEFAULT_OPTIMIZER, ...options.optimizer },
    provider: options.provider ?? 'cpu',
    threads: options.threads ?? availableParallelism(),
    lora: options.lora,
    scoreOnly: options.scoreOnly,
    memoryBytes,
    microBatchTokens: options.microBatchTokens ?? chooseMicroBatchTokens(options, memoryBytes),
  };
  // Imported only for a custom objective, because it loads another backend.
  if (isObjectiveModule(resolved.objective.objective))
    await (await import('./validate-objective.ts')).validateObjective(resolved.objective);
  if (needsTensorflow(resolved.engine, resolved.provider)) setTensorflowEnvironment(resolved.threads);
  const { weights, movesWeights } = options;
  const { name, ...started } = await start(
    resolved,
    movesWeights && typeof weights !== 'string' ? buffersOf(weights) : [],
  );
  let { client } = started;
  return {
    name,
    score: (sequences) => client.call('score', sequences),
    step: (pairs, learningRate) => client.call('step', pairs, learningRate),
    evaluate: (pairs) => client.call('evaluate', pairs),
    logits: (ids) => client.call('logits', ids),
    weights: () => client.call('weights'),
    save: (path) => client.call('save', path),
    restore: (path) => client.call('restore', path),
    // Only the end of a thread gives the memory of sessions, gradient and moments back at once.
    async endTraining() {
      const weights: Weights = await client.call('weights');
      await client.close();
      client = (await start({ ...resolved, weights, lora: null, scoreOnly: true }, buffersOf(weights))).client;
    },
    close: () => client.close(),
  };
}

/** `moved`: buffers of the weights that the caller gives away. */
async function start(options: OpenOptions, moved: ArrayBuffer[] = []): Promise<{ client: WorkerClient; name: string }> {
  const client = new WorkerClient(new Worker(new URL('./worker.ts', import.meta.url)), 'trainer engine');
  try {
    return { client, name: await client.callMoving(moved, 'open', options) };
  } catch (error) {
    await client.close();
    throw error;
  }
}
