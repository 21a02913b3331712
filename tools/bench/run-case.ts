// Runs one case (number of streams, prompt length, generated tokens) with every peer. Peers alternate within each round,
// so that a temporary disturbance of the machine affects all of them.
import { kvBytesPerRow } from '../../shared/decoder/kv-cache.ts';
import { seedRandom } from '../../shared/decoder/random.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import { kvBytesPerPosition } from '../../shared/onnx/kv-format.ts';
import type { Accuracy } from './accuracy.ts';
import type { Plan } from './peers/peer.ts';
import { maxDecodeRate, maxPrefillRate, type Roofline } from './roofline.ts';
import { type PeerProgram, runServingPeer } from './run-serving-peer.ts';
import { computeMetrics, quantile, type ServingMetrics } from './serving-metrics.ts';
import type { ServingPeer } from './serving-peers.ts';

export type Case = { streams: number; promptLength: number; tokens: number };
export type RunOptions = { threads: number; rounds: number; stop: AbortSignal };
/** `source`: the file or folder that the peer loads; `accuracy`: null if it could not be measured. */
export type PreparedPeer = { peer: ServingPeer; source: string; accuracy: Accuracy | null };

export type PeerResult = {
  peer: string;
  accuracy: Accuracy | null;
  /** One entry per round; null for a failed run. */
  rounds: (ServingMetrics | null)[];
  median: ServingMetrics;
  best: ServingMetrics;
  /** The machine's upper bound, in tokens per second. */
  roofline: { decode: number; prefill: number };
  failures: string[];
};

export type CaseResult = Case & { results: PeerResult[] };

/** A run is repeated if other processes used more than this many cores meanwhile. */
const MAX_OTHER_CORES = 0.25;
const MAX_RETRIES = 2;

export async function runCase(
  benchCase: Case,
  peers: PreparedPeer[],
  architecture: Architecture,
  roofline: Roofline,
  { threads, rounds, stop }: RunOptions,
  log: (line: string) => void,
): Promise<CaseResult> {
  const { streams, promptLength, tokens } = benchCase;
  const metricsOf = new Map(peers.map(({ peer }) => [peer.name, [] as (ServingMetrics | null)[]]));
  const failuresOf = new Map(peers.map(({ peer }) => [peer.name, [] as string[]]));
  for (let round = 0; round < rounds; round++) {
    for (const { peer, source } of peers) {
      stop.throwIfAborted();
      const prompts = (seed: number) => randomPrompts(architecture.vocabSize, benchCase, seed);
      const plan: Plan = {
        source,
        variant: peer.variant,
        threads,
        kvBytes: streams * kvBytesPerRow(kvBytesPerPosition(architecture, 'float32'), promptLength + tokens),
        warmUp: { prompts: prompts(2 * round), tokens: 16 },
        batch: { prompts: prompts(2 * round + 1), tokens },
      };
      let metrics: ServingMetrics | null = null;
      try {
        metrics = await runWithLeastNoise(peer.program, plan, stop);
      } catch (error) {
        stop.throwIfAborted();
        failuresOf.get(peer.name)!.push((error as Error).message);
      }
      metricsOf.get(peer.name)!.push(metrics);
      log(`${peer.name}, ${streams} × ${promptLength}, round ${round + 1}: ${describe(metrics)}`);
    }
  }
  const results = peers.map(({ peer, accuracy }): PeerResult => {
    const all = metricsOf.get(peer.name)!;
    const completed = all.filter((metrics) => metrics !== null);
    const meanCacheLength = promptLength + tokens / 2;
    return {
      peer: peer.name,
      accuracy,
      rounds: all,
      median: aggregate(completed, (values) => quantile(values, 0.5)),
      best: aggregate(completed, (values, isRate) => (isRate ? Math.max(...values) : Math.min(...values))),
      roofline: {
        decode: maxDecodeRate(roofline, architecture, peer.weights, streams, meanCacheLength),
        prefill: maxPrefillRate(roofline, architecture, peer.weights),
      },
      failures: failuresOf.get(peer.name)!,
    };
  });
  return { ...benchCase, results };
}

function describe(metrics: ServingMetrics | null): string {
  if (!metrics) return 'failed';
  const { decodeRate, otherCores } = metrics;
  const noise = otherCores > MAX_OTHER_CORES ? `, other processes used ${otherCores.toFixed(1)} cores` : '';
  return `${decodeRate.toFixed(0)} tokens/s${noise}`;
}

/** Repeats a noisy run and returns the attempt with the least noise, fast or slow. */
async function runWithLeastNoise(program: PeerProgram, plan: Plan, stop: AbortSignal): Promise<ServingMetrics> {
  const run = async () => computeMetrics(await runServingPeer(program, plan), plan.batch.prompts[0]!.length);
  let quietest = await run();
  for (let retry = 0; retry < MAX_RETRIES && quietest.otherCores > MAX_OTHER_CORES; retry++) {
    stop.throwIfAborted();
    const metrics = await run();
    if (metrics.otherCores < quietest.otherCores) quietest = metrics;
  }
  return quietest;
}

export function isNoisy({ median }: PeerResult): boolean {
  return median.otherCores > MAX_OTHER_CORES;
}

/** Median of the ratios within each round, whose runs are adjacent in time and share disturbances. */
export function computeMedianRatio(peer: PeerResult, baseline: PeerResult, value: keyof ServingMetrics): number {
  const ratios = peer.rounds.flatMap((metrics, round) => {
    const other = baseline.rounds[round];
    return metrics && other ? [metrics[value] / other[value]] : [];
  });
  return quantile(ratios, 0.5);
}

/** Different for every stream and round, so that no peer profits from a prefix cache. */
function randomPrompts(vocabSize: number, { streams, promptLength }: Case, seed: number): number[][] {
  // The first ids are special tokens and single bytes.
  const first = Math.min(300, vocabSize >> 1);
  return Array.from({ length: streams }, (_, stream) => {
    const uniform = seedRandom(seed, stream);
    return Array.from({ length: promptLength }, () => first + Math.floor(uniform() * (vocabSize - first)));
  });
}

const RATES = ['decodeRate', 'overallRate', 'prefillRate'] as const;
const COSTS = ['ttftMs', 'itlP50Ms', 'itlP95Ms', 'peakMiB', 'loadSeconds', 'otherCores'] as const;

function aggregate(rounds: ServingMetrics[], combine: (values: number[], isRate: boolean) => number): ServingMetrics {
  const entry = (name: keyof ServingMetrics, isRate: boolean) => {
    const values = rounds.map((metrics) => metrics[name]);
    return [name, combine(values, isRate)];
  };
  return Object.fromEntries([...RATES.map((name) => entry(name, true)), ...COSTS.map((name) => entry(name, false))]);
}
