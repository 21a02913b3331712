// What a policy's thread and the main thread say to each other.
import type { Architecture } from '../../shared/model/architecture.ts';
import type { EngineEvent, EngineRequest } from './request.ts';
import type { SchedulerOptions, StepResult } from './scheduler.ts';

export type PolicyWorkerOptions = SchedulerOptions & {
  /** The folder of the policy's package. */
  folder: string;
  architecture: Architecture;
  /** Threads inside one operator. */
  threads: number;
};

export type WorkerRequest =
  | { type: 'submit'; job: EngineRequest }
  | { type: 'cancel'; id: number; index: number }
  /** End when the work is done. */
  | { type: 'close' };

export type WorkerMessage =
  /** Loaded, warmed up, and its logits are finite. */
  | { type: 'ready' }
  | { type: 'unusable'; reason: string }
  | { type: 'events'; events: EngineEvent[] }
  | ({ type: 'turn' } & StepResult);
