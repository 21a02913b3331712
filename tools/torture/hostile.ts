// Part d: a victim with an API key of its own sends a small steady load while hostile clients attack, one kind after the
// other and all at once. It must not be refused, and hardly be slowed down.

import { fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readProcessMemory } from '../../testing/process-memory.ts';
import { HOSTILE_CLIENTS } from './hostile-clients.ts';
import type { Report } from './report.ts';
import { openSystem, type System, waitUntilHealthy } from './system.ts';

const HOSTILE_PROCESS = fileURLToPath(new URL('./hostile-process.ts', import.meta.url));
const VICTIM_KEY = 'victim-key-0001';
const HOSTILE_KEY = 'hostile-key-0001';
const ALL = 'all of them at once';

const INTERVAL_MS = 100;
const DEADLINE_MS = 30_000;
const MAX_RATIO = 2;
const MAX_STATUS_MS = 100;
/** Above what the process needs without an attack. */
const MAX_GROWTH_BYTES = 768 * 2 ** 20;

export async function runHostile(report: Report, { isQuick }: { isQuick: boolean }): Promise<void> {
  const system = await openSystem({
    env: { API_KEY: `${VICTIM_KEY},${HOSTILE_KEY}` },
    checkpoint: { contextLength: 1024 },
  });
  const durationMs = isQuick ? 5000 : 15_000;
  try {
    // The first requests are slower.
    await watchVictim(system, 2000);
    const baseline = await watchVictim(system, durationMs);
    addRow(report, 'the victim alone', baseline, baseline);
    const attacks = isQuick ? [] : Object.keys(HOSTILE_CLIENTS).map((name) => [name, [name]] as const);
    for (const [title, names] of [...attacks, [ALL, Object.keys(HOSTILE_CLIENTS)] as const]) {
      const attack = fork(HOSTILE_PROCESS, [system.url, HOSTILE_KEY, ...names], { stdio: 'ignore' });
      const exited = new Promise((resolve) => attack.once('exit', resolve));
      // The process needs a second to start.
      await sleep(1500);
      const observation = await watchVictim(system, names.length > 1 ? 2 * durationMs : durationMs);
      if (attack.exitCode !== null) report.fail(`${title}: the hostile clients ended early, with ${attack.exitCode}`);
      attack.kill('SIGKILL');
      await exited;
      addRow(report, title, observation, baseline);
      judge(report, title, observation, baseline, isQuick);
      await waitUntilHealthy(system.url, 60_000);
    }
    if (system.api.endedItself > 0) report.fail(`hostile clients: the API ended ${system.api.endedItself} times`);
  } finally {
    await system.close();
  }
}

/** What the victim met. */
type Observation = {
  tried: number;
  latenciesMs: number[];
  statusMs: number[];
  refusals: string[];
  peakBytes: number;
};

async function watchVictim({ url, api }: System, durationMs: number): Promise<Observation> {
  const seen: Observation = { tried: 0, latenciesMs: [], statusMs: [], refusals: [], peakBytes: 0 };
  const time = async (latenciesMs: number[], path: string, body?: object) => {
    const startMs = performance.now();
    const error = await ask(url, path, body);
    latenciesMs.push(performance.now() - startMs);
    if (error) seen.refusals.push(`${path}: ${error}`);
  };
  const requests: Promise<void>[] = [];
  for (const endMs = performance.now() + durationMs; performance.now() < endMs; await sleep(INTERVAL_MS)) {
    const body = { prompt: 'Once', max_tokens: 4 };
    const preference = { prompt: `victim ${crypto.randomUUID()}`, chosen: 'a', rejected: 'b', rater: 'victim' };
    requests.push(
      seen.tried % 2
        ? time(seen.latenciesMs, '/v1/completions', body)
        : time(seen.latenciesMs, '/v1/preferences', preference),
      time(seen.statusMs, '/status'),
    );
    seen.tried++;
    seen.peakBytes = Math.max(seen.peakBytes, await readResidentBytes(api.pid));
  }
  await Promise.all(requests);
  return seen;
}

/**
 * Null, or what went wrong. A connection that was lost is replaced once, as OpenAI's clients do: the server may close one that
 * waits for a request in favor of another (MAX_CONNECTIONS).
 */
async function ask(url: string, path: string, body?: object, isRetry = false): Promise<string | null> {
  try {
    const response = await fetch(url + path, {
      ...(body ? { method: 'POST', body: JSON.stringify(body) } : {}),
      headers: { authorization: `Bearer ${VICTIM_KEY}`, 'content-type': 'application/json' },
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    const text = await response.text();
    return response.ok ? null : `${response.status} ${text.slice(0, 200)}`;
  } catch (error) {
    const cause = (error as { cause?: { code?: unknown } }).cause;
    if (!isRetry && (cause?.code === 'ECONNRESET' || cause?.code === 'UND_ERR_SOCKET'))
      return ask(url, path, body, true);
    return String(cause ?? error);
  }
}

async function readResidentBytes(pid: number): Promise<number> {
  return (await readProcessMemory('VmRSS', pid).catch(() => 0)) || 0;
}

function judge(report: Report, title: string, seen: Observation, baseline: Observation, isQuick: boolean): void {
  if (seen.refusals.length > 0)
    report.fail(`${title}: the victim was refused ${seen.refusals.length} times; first: ${seen.refusals[0]}`);
  const growth = seen.peakBytes - baseline.peakBytes;
  if (growth > MAX_GROWTH_BYTES)
    report.fail(`${title}: memory grew by ${formatMiB(growth)}, over ${formatMiB(MAX_GROWTH_BYTES)}`);
  // On a machine that does other things too, times say little.
  if (isQuick) return;
  const ratio = p99(seen.latenciesMs) / p99(baseline.latenciesMs);
  if (ratio > MAX_RATIO)
    report.fail(`${title}: the victim's p99 is ${ratio.toFixed(1)} times its baseline, over ${MAX_RATIO}`);
  const statusMs = p99(seen.statusMs);
  if (statusMs > MAX_STATUS_MS)
    report.fail(`${title}: p99 of /status is ${statusMs.toFixed(0)} ms, over ${MAX_STATUS_MS}`);
}

function addRow(report: Report, what: string, seen: Observation, baseline: Observation): void {
  const latency = p99(seen.latenciesMs);
  const ratio = latency / p99(baseline.latenciesMs);
  report.add({
    what,
    times: 1,
    tried: seen.tried,
    acknowledged: seen.tried - seen.refusals.filter((refusal) => !refusal.startsWith('/status')).length,
    late: seen.latenciesMs.filter((ms) => ms >= DEADLINE_MS).length,
    note: `p99 ${latency.toFixed(0)} ms (${ratio.toFixed(1)} ×), /status ${p99(seen.statusMs).toFixed(0)} ms, ${formatMiB(seen.peakBytes)}`,
  });
}

const formatMiB = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

function p99(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? 0;
}
