// What the API needs from outside: handed to createApp, so that the same app runs on Node and on Workers.

import type { Database } from '../shared/database/connect.ts';
import type { Settings } from '../shared/settings.ts';
import type { Inference } from './generation/inference.ts';

/** Counts what the API answers, and tells it all to Prometheus. */
export type Metrics = {
  /** `route` is the pattern that matched, never a path with somebody's id in it; `seconds` until the answer began. */
  answered(answer: { method: string; route: string; status: number; seconds: number }): void;
  text(): Promise<{ body: string; type: string }>;
};

export type Ports = {
  db: Database;
  inference: Inference;
  settings: Settings;
  /** Resolves when rows of rounds or policies may have changed, or after the given time. */
  waitForNews(milliseconds: number): Promise<void>;
  /** without it there is no GET /metrics */
  metrics?: Metrics;
};
