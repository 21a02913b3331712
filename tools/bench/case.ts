// One case: so many prompts of such a length at once, run by every contender in turn, round after round, so that what
// disturbs the machine for a while disturbs all of them alike.
import { seedRandom } from '../../shared/decoder/random.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Contender } from './contenders.ts';
import { boundDecoding, boundPrefill, type Floor } from './floor.ts';
import { type Figures, measure, quantile } from './measure.ts';
import type { Plan } from './peers/peer.ts';
import { type PeerProgram, runPeer } from './run-peer.ts';

export type Case = { streams: number; promptLength: number; tokens: number };
export type Settings = { threads: number; rounds: number; stop: AbortSignal };
export type Entry = { contender: Contender; source: string };

export type Result = {
  contender: string;
  /** One for each round; a failed one is missing. */
  rounds: (Figures | null)[];
  median: Figures;
  best: Figures;
  /** What the machine's floor allows, in tokens per second. */
  floor: { decode: number; prefill: number };
  failures: string[];
};

export type CaseResult = Case & { results: Result[] };

/** Cores' worth of work by others above which a measurement is repeated, and how often. */
const NOISE = 0.25;
const REPEATS = 2;

export async function runCase(
  work: Case,
  entries: Entry[],
  architecture: Architecture,
  floor: Floor,
  { threads, rounds, stop }: Settings,
  say: (line: string) => void,
): Promise<CaseResult> {
  const found = new Map(entries.map(({ contender }) => [contender.name, [] as (Figures | null)[]]));
  const failures = new Map<string, string[]>();
  for (let round = 0; round < rounds; round++) {
    for (const { contender, source } of entries) {
      stop.throwIfAborted();
      const prompts = (seed: number) => drawPrompts(architecture.vocabSize, work, seed);
      const plan: Plan = {
        source,
        variant: contender.variant,
        threads,
        warmUp: { prompts: prompts(2 * round), tokens: 16 },
        batch: { prompts: prompts(2 * round + 1), tokens: work.tokens },
      };
      let figures: Figures | null = null;
      try {
        figures = await runQuietly(contender.program, plan, stop);
      } catch (error) {
        stop.throwIfAborted();
        failures.set(contender.name, [...(failures.get(contender.name) ?? []), (error as Error).message]);
      }
      found.get(contender.name)!.push(figures);
      const noise = figures && figures.others > NOISE ? `, others used ${figures.others.toFixed(1)} cores` : '';
      const rate = figures ? `${figures.decode.toFixed(0)} tokens/s${noise}` : 'failed';
      say(`${contender.name}, ${work.streams} × ${work.promptLength}, round ${round + 1}: ${rate}`);
    }
  }
  const results = entries.map(({ contender }): Result => {
    const rounds = found.get(contender.name)!;
    const done = rounds.filter((figures) => figures !== null);
    const held = work.promptLength + work.tokens / 2;
    return {
      contender: contender.name,
      rounds,
      median: combine(done, (values) => quantile(values, 0.5)),
      best: combine(done, (values, isRate) => (isRate ? Math.max(...values) : Math.min(...values))),
      floor: {
        decode: boundDecoding(floor, architecture, contender.storage, work.streams, held),
        prefill: boundPrefill(floor, architecture, contender.storage),
      },
      failures: failures.get(contender.name) ?? [],
    };
  });
  return { ...work, results };
}

/** Again where others disturbed it; of the attempts the one that they disturbed least, fast or slow. */
async function runQuietly(program: PeerProgram, plan: Plan, stop: AbortSignal): Promise<Figures> {
  const run = async () => measure(await runPeer(program, plan), plan.batch.prompts[0]!.length);
  let quietest = await run();
  for (let repeat = 0; repeat < REPEATS && quietest.others > NOISE; repeat++) {
    stop.throwIfAborted();
    const again = await run();
    if (again.others < quietest.others) quietest = again;
  }
  return quietest;
}

export function isDisturbed({ median }: Result): boolean {
  return median.others > NOISE;
}

/** Of each round's quotient the median: two that ran one after the other met the same disturbances. */
export function ratio(of: Result, to: Result, figure: 'decode' | 'prefill' | 'overall'): number {
  const quotients = of.rounds.flatMap((figures, round) => {
    const other = to.rounds[round];
    return figures && other ? [figures[figure] / other[figure]] : [];
  });
  return quantile(quotients, 0.5);
}

/** Different for every stream and every round, so that nobody profits from having seen one before. */
function drawPrompts(vocabSize: number, { streams, promptLength }: Case, seed: number): number[][] {
  // Special tokens and single bytes come first in a vocabulary.
  const first = Math.min(300, vocabSize >> 1);
  return Array.from({ length: streams }, (_, stream) => {
    const uniform = seedRandom(seed, stream);
    return Array.from({ length: promptLength }, () => first + Math.floor(uniform() * (vocabSize - first)));
  });
}

const RATES = ['decode', 'overall', 'prefill'] as const;
const COSTS = ['firstToken', 'gapMedian', 'gapP95', 'peakMiB', 'loadSeconds', 'others'] as const;

function combine(rounds: Figures[], choose: (values: number[], isRate: boolean) => number): Figures {
  const of = (name: keyof Figures, isRate: boolean) => [
    name,
    choose(
      rounds.map((figures) => figures[name]),
      isRate,
    ),
  ];
  return Object.fromEntries([...RATES.map((name) => of(name, true)), ...COSTS.map((name) => of(name, false))]);
}
