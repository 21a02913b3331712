// What the console reads of a policy's manifest, which the API's schema leaves open.

import type { Policy } from '../../api.ts';

type Accuracy = { kl: number; tokens: number; perplexity: number; greedy_agreement: number };

export type Manifest = {
  source?: string;
  license?: string;
  objective?: { objective?: string } | string | null;
  pairs: { count: number } | null;
  metrics: Record<string, number>;
  files: Record<string, { bytes: number }>;
  serving: { precision: string; accuracy: Record<string, Accuracy> } | null;
  architecture: Record<string, unknown>;
};

export const getManifest = (policy: Policy) => policy.manifest as unknown as Manifest;
