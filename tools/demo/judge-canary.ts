// Votes on a canary until it is decided, as people would who compare responses: they do not know which policy is which.

import { AttuneError } from '../../shared/error.ts';
import type { Canary, Client, EvidencePoint, Health } from './client.ts';
import { collectVotes } from './collect-votes.ts';
import type { DemoConfig } from './config.ts';

/** `state`: promoted by its votes or by hand, or what ended it. */
export type CanaryResult = {
  policy: string;
  state: 'promoted' | 'rolled_back' | 'undecided';
  reason: string;
  points: EvidencePoint[];
  threshold: number;
};

/** Comparisons between two looks: the server looks every two seconds. */
const CHUNK = 20;
const POLL_INTERVAL_MS = 500;
const LOAD_TIMEOUT_MS = 60_000;
/** Enough for a server that looks every two seconds, or every minute in a Worker. */
const DECISION_TIMEOUT_MS = 70_000;

export async function judgeCanary(
  client: Client,
  policy: string,
  prompts: string[],
  config: DemoConfig,
  seed: number,
  onVote: () => void,
): Promise<CanaryResult> {
  await waitFor(LOAD_TIMEOUT_MS, async () => (await client.get<Health>('/health')).candidate === policy);
  const { id } = await findCanary(client, policy);
  const read = () => client.get<Canary>(`/v1/canaries/${id}`);
  let canary = await read();
  for (let at = 0; at < prompts.length && canary.state === 'running'; at += CHUNK) {
    await collectVotes(client, prompts.slice(at, at + CHUNK), config, seed + 2 * at, { onVote });
    canary = await read();
    if (!hasDecided(canary)) continue;
    await waitFor(DECISION_TIMEOUT_MS, async () => (await read()).state !== 'running');
    canary = await read();
  }
  const evidence = await client.get<{ data: EvidencePoint[]; threshold: number }>(`/v1/canaries/${id}/evidence`);
  return {
    policy,
    state: toState(canary),
    reason: canary.reason ?? `undecided after ${prompts.length} comparisons`,
    points: evidence.data,
    threshold: evidence.threshold,
  };
}

function toState({ state }: Canary): CanaryResult['state'] {
  if (state === 'watching' || state === 'kept') return 'promoted';
  return state === 'rolled_back' ? 'rolled_back' : 'undecided';
}

function hasDecided({ evidence }: Canary): boolean {
  return Math.max(evidence.better, evidence.worse) >= evidence.threshold;
}

async function findCanary(client: Client, policy: string): Promise<Canary> {
  const { data } = await client.get<{ data: Canary[] }>('/v1/canaries?order=desc');
  const found = data.find((canary) => canary.policy === policy);
  if (found) return found;
  throw new AttuneError(`demo: ${policy} should be a canary, and the server lists none of it`, { code: 'no_canary' });
}

async function waitFor(timeoutMs: number, isDone: () => Promise<boolean>): Promise<void> {
  const started = performance.now();
  while (!(await isDone())) {
    if (performance.now() - started > timeoutMs)
      throw new AttuneError(`demo: the server has not followed its canary in ${timeoutMs / 1000} s; check its log`, {
        code: 'not_followed',
      });
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL_MS));
  }
}
