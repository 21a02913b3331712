// What the API needs from outside: handed to createApp, so that the same app runs on Node and on Workers.

import type { Context } from 'hono';
import type { Database } from '../shared/database/connect.ts';
import type { Settings } from '../shared/settings.ts';
import type { Inference } from './engine/inference.ts';

/** Counts what the API answers, and tells it all to Prometheus. */
export type Metrics = {
  /** `route` is the pattern that matched, never a path with somebody's id in it; `seconds` until the answer began. */
  observeResponse(answer: { method: string; route: string; status: number; seconds: number }): void;
  render(): Promise<{ body: string; type: string }>;
};

/** Where generations are computed: in this process, in this Worker, in its container, or at INFERENCE_URL. */
export type Placement = { place: 'node' | 'worker' | 'container' | 'url'; reason: string };

/** What /health says of the active policy: null while there is none, `nowhere` where nobody can compute it. */
export type ServingStatus = { policy: string | null; compute: Placement | { place: 'none'; reason: string } | null };

export type Ports = {
  db: Database;
  inference: Pick<Inference, 'getPolicy' | 'activate'>;
  settings: Settings;
  getServingStatus(): Promise<ServingStatus>;
  /** Where a request that needs a policy is computed; where that is elsewhere, with the answer from there. */
  placeRequest(context: Context): Promise<Placement & { response?: Response }>;
  /** A file of the docs page by its name, null where there is none. */
  openDocsFile(name: string): Promise<Response | null>;
  /** Resolves when rows of rounds or policies may have changed, or after the given time. */
  waitForChange(milliseconds: number): Promise<void>;
  /** without it there is no GET /metrics */
  metrics?: Metrics;
  /** Whether the caller (its key's place, or its address) may ask now; without it only the queue limits. */
  isWithinRateLimit?(caller: string): Promise<boolean>;
};
