// What the API needs from outside: handed to createApp, so that the same app runs on Node and on Workers.

import type { Database } from '../shared/database/connect.ts';
import type { Settings } from '../shared/settings.ts';
import type { Inference } from './generation/inference.ts';

export type Ports = {
  db: Database;
  inference: Inference;
  settings: Settings;
  /** Resolves when rows of rounds or policies may have changed, or after the given time. */
  waitForNews(milliseconds: number): Promise<void>;
};
