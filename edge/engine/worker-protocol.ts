// What a policy's thread and the main thread say to each other.
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Job, JobEvent } from './request.ts';
import type { SchedulerOptions, Turn } from './scheduler.ts';

export type ThreadOptions = SchedulerOptions & {
  /** The folder of the policy's package. */
  folder: string;
  architecture: Architecture;
  /** Threads inside one operator. */
  threads: number;
};

export type ToThread =
  | { type: 'submit'; job: Job }
  | { type: 'cancel'; id: number; index: number }
  /** End when the work is done. */
  | { type: 'close' };

export type FromThread =
  /** Loaded, warmed up, and its logits are finite. */
  | { type: 'ready' }
  | { type: 'unusable'; reason: string }
  | { type: 'events'; events: JobEvent[] }
  | ({ type: 'turn' } & Turn);
