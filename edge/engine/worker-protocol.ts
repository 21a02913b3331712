// The messages between the main thread and a policy's worker thread.
import type { Architecture } from '../../shared/model/architecture.ts';
import type { TokenBytes } from '../grammar/token-trie.ts';
import type { EngineEvent, EngineRequest } from './request.ts';
import type { SchedulerOptions, StepResult } from './scheduler.ts';

export type PolicyWorkerOptions = Omit<SchedulerOptions, 'constraints'> & {
  /** The folder of the policy's package. */
  folder: string;
  /** `score`: float32, for scoring given responses. */
  graph: 'serve' | 'score';
  architecture: Architecture;
  /** Threads inside one operator. */
  threads: number;
};

/** The threads' priority on Linux, where it is per thread: the API, which has short tasks, takes precedence over both. */
export const NICENESS = 5;

/** From the main thread to the worker. */
export type WorkerRequest =
  | { type: 'submit'; request: EngineRequest }
  /** Before the first request with a grammar. */
  | { type: 'vocabulary'; tokens: TokenBytes }
  | { type: 'cancel'; id: number; index: number }
  /** Finish the submitted requests, then exit. */
  | { type: 'close' };

/** From the worker to the main thread. */
export type WorkerMessage =
  /** Loaded and warmed up, with finite logits. */
  | { type: 'ready'; kvBytesPerPosition: number }
  | { type: 'unusable'; reason: string }
  | { type: 'events'; events: EngineEvent[] }
  | ({ type: 'step' } & StepResult);
