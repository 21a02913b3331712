// What the API needs from its platform. createApp receives it, so that the same app runs on Node and on Workers.

import type { Context } from 'hono';
import type { Database } from '../shared/database/connect.ts';
import type { Redact } from '../shared/redaction/redact.ts';
import type { Settings } from '../shared/settings.ts';
import type { Serving } from '../shared/store/registry.ts';
import type { Credentials } from './credentials.ts';
import type { Inference } from './engine/inference.ts';
import type { Tenants } from './engine/tenants.ts';
import type { ConcurrentGenerations } from './generation/concurrent-generations.ts';
import type { ConcurrencyLimit } from './http/concurrency-limit.ts';
import type { RequestRecord } from './http/request-record.ts';
import type { LoopEvents } from './loop/loop-events.ts';
import type { RoundEvents } from './round-events.ts';
import type { WrongKeys } from './wrong-keys.ts';

/** Counts the responses of the API, and renders all metrics for Prometheus. */
export type Metrics = {
  /** `route` is the pattern that matched, never a path with an id in it; `seconds` until the response began. */
  observeResponse(response: { method: string; route: string; status: number; seconds: number }): void;
  render(): Promise<{ body: string; type: string }>;
};

/** Where a policy is computed: in this Node process, in this Worker, in its container, or at INFERENCE_URL; and why. */
export type Placement = { place: 'node' | 'worker' | 'container' | 'url'; reason: string };

/** How a request names the policies that it needs: `model` in its body; `model`, of one side or both, or `models`; `model` with the
 * reference; `{id}` in its path; implicitly the previously active policy; or those of the queue in its path. */
export type RequiredPolicy = 'body' | 'sides' | 'body and reference' | 'path' | 'previous' | 'queue';

/** The active policy and a canary's candidate beside it as /health reports them: null before the first activation, and where
 * there is none; `none` if no backend can compute the active policy. */
export type ServingStatus = {
  policy: string | null;
  candidate: string | null;
  compute: Placement | { place: 'none'; reason: string } | null;
};

export type RunningCanary = NonNullable<Serving['canary']>;

/** Of a key: requests and tokens per minute, where null is the server's setting; and generations at once. */
export type KeyLimits = { requests: number | null; tokens: number | null; concurrent: number | null };

export type RateLimits = {
  /**
   * Counts a request. Throws a 429 over the limit. `limits`: the key's own, which hold for its later calls too.
   */
  countRequest(caller: { id: string; address: string; limits?: KeyLimits | undefined }): Promise<void>;
  /** Takes the tokens that a generation may use. Throws a 429 over the limit. The result corrects them to those it used. */
  reserveTokens(callerId: string, tokens: number): Promise<(used: number) => Promise<void>>;
  listHeaders(caller: { id: string }): Promise<Record<string, string>>;
};

export type Ports = {
  db: Database;
  inference: Pick<Inference, 'getPolicy' | 'getScorer' | 'getReward' | 'activate'>;
  settings: Settings;
  credentials: Credentials;
  tenants: Tenants;
  wrongKeys: WrongKeys;
  /** Of the client, or of the proxy in front of it. */
  getAddress(context: Context): string;
  /** Of REDACT: what any text is replaced with before it is stored; null: itself. */
  redact: Redact | null;
  metrics: Metrics;
  /** Called when a response has ended. */
  observeRequest(record: RequestRecord): void;
  getServingStatus(): Promise<ServingStatus>;
  /** The canary that runs; null also if its candidate cannot be computed here: then the active policy gets all requests. */
  getCanary(): Promise<RunningCanary | null>;
  /** Selects where a request is computed. `response` is set, and complete, if it was computed elsewhere or failed. */
  placeRequest(context: Context, needsPolicy: RequiredPolicy): Promise<Placement & { response?: Response }>;
  /** A file of pages/dist; null if no file has this path. `request`: may get it compressed. */
  openAsset(path: string, request: Request): Promise<Response | null>;
  /** Has the webhook events that are due sent soon. */
  sendWebhooks(): Promise<void>;
  roundEvents: RoundEvents;
  loop: LoopEvents;
  /** If absent, only the queue limits requests. */
  rateLimits?: RateLimits | undefined;
  /** Absent in a Worker: a request that its platform ends leaves no trace, and would be counted for ever. */
  concurrencyLimits?: {
    imports: ConcurrencyLimit;
    eventStreams: ConcurrencyLimit;
    generations: ConcurrentGenerations;
  };
  /** Whether the last write was refused because Postgres's disk is full; absent in a Worker, which remembers no write. */
  isDiskFull?(): boolean;
};
