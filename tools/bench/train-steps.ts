// Whole optimisation steps (forward, backward, clipping, AdamW) of one batch of pairs by every peer, each measurement a
// process of its own, peers in turn, round after round. Before anything is reported, all must have computed the same.
import { seedRandom } from '../../shared/decoder/random.ts';
import { AttuneError } from '../../shared/error.ts';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import { openEngine } from '../../trainer/engine/open-engine.ts';
import type { Model } from './models.ts';
import type { Pair, References } from './train-pairs.ts';
import { type Program, runProgram } from './train-program.ts';
import type { Work } from './train-work.ts';

export type StepsPlan = {
  source: string;
  variant: string;
  threads: number;
  pairs: (Pair & { refs: References })[];
  learningRate: number;
  warmUp: number;
  steps: number;
};

/** `computed`: places for tokens that were computed, padding included. */
export type Step = { loss: number; gradNorm: number; seconds: number; computed: number };
export type StepsOutcome = {
  warm: Step[];
  steps: Step[];
  loadSeconds: number;
  peakBytes: number;
  /** Cores that others kept busy meanwhile. */
  others: number;
};

/** `sharesPrompts`: computes a prompt once for both of its responses. */
export type StepsPeer = { name: string; program: Program; variant: string; sharesPrompts: boolean };

export type StepsResult = {
  peer: string;
  /** Seconds of a step: the median of each round's steps. */
  rounds: number[];
  median: number;
  best: number;
  peakMiB: number;
  loadSeconds: number;
  others: number;
  /** Operations that a step takes at least, with prompts once where this peer computes them once. */
  flops: number;
  /** The share of what it computes that nothing depends on. */
  padding: number;
};

export async function measureSteps(
  peers: StepsPeer[],
  plan: Omit<StepsPlan, 'variant'>,
  work: Work,
  options: { rounds: number; stop: AbortSignal; say: (line: string) => void },
): Promise<StepsResult[]> {
  const outcomes = new Map<string, StepsOutcome[]>(peers.map(({ name }) => [name, []]));
  for (let round = 1; round <= options.rounds; round++) {
    for (const { name, program, variant } of peers) {
      options.stop.throwIfAborted();
      options.say(`round ${round} of ${options.rounds}: steps of ${name}`);
      outcomes.get(name)!.push(await runProgram<StepsOutcome>(program, { ...plan, variant }));
    }
    checkAgreement(outcomes);
  }
  return peers.map((peer) => summarize(peer, outcomes.get(peer.name)!, work));
}

/** The reference's log-probabilities, which are the model's own with noise, so that every token's counts. */
export async function drawReferences(model: Model, pairs: Pair[], threads: number): Promise<References[]> {
  const { architecture, weights } = await readCheckpoint(model.folder);
  const engine = await openEngine({ architecture, weights, objective: {}, threads });
  try {
    const scores = await engine.score(
      pairs.flatMap(({ prompt, chosen, rejected }) =>
        [chosen, rejected].map((responseIds) => ({ promptIds: prompt, responseIds })),
      ),
    );
    const uniform = seedRandom(1, pairs.length);
    const disturb = (logps: Float32Array) => Array.from(logps, (logp) => logp + NOISE * (uniform() - 0.5));
    return pairs.map((_, at) => ({ chosen: disturb(scores[2 * at]!), rejected: disturb(scores[2 * at + 1]!) }));
  } finally {
    await engine.close();
  }
}

/** How far references are from the model's own at most, twice, in nats a token. */
const NOISE = 0.4;

/** Throws where a peer's loss or gradient norm of any step is not the first peer's. */
export function checkAgreement(outcomes: ReadonlyMap<string, StepsOutcome[]>): void {
  const all = Array.from(outcomes, ([name, rounds]) => ({ name, rounds: rounds.map(listSteps) }));
  const [first] = all;
  for (const { name, rounds } of all) {
    for (const steps of rounds) {
      for (const [at, step] of steps.entries()) {
        const expected = first!.rounds[0]![at]!;
        for (const figure of ['loss', 'gradNorm'] as const) {
          if (isNear(step[figure], expected[figure])) continue;
          throw new AttuneError(
            `step ${at + 1}: the ${figure} of ${name} is ${step[figure]}, that of ${first!.name} ${expected[figure]}; they do not compute the same, so they are no peers`,
          );
        }
      }
    }
  }
}

function listSteps({ warm, steps }: StepsOutcome): Step[] {
  return [...warm, ...steps];
}

function isNear(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-3 * Math.max(1, Math.abs(b));
}

function summarize({ name, sharesPrompts }: StepsPeer, outcomes: StepsOutcome[], work: Work): StepsResult {
  const rounds = outcomes.map(({ steps }) => median(steps.map(({ seconds }) => seconds)));
  const needed = sharesPrompts ? work.tokens - work.repeated : work.tokens;
  return {
    peer: name,
    rounds,
    median: median(rounds),
    best: Math.min(...outcomes.flatMap(({ steps }) => steps.map(({ seconds }) => seconds))),
    peakMiB: Math.max(...outcomes.map(({ peakBytes }) => peakBytes)) / 2 ** 20,
    loadSeconds: median(outcomes.map(({ loadSeconds }) => loadSeconds)),
    others: median(outcomes.map(({ others }) => others)),
    flops: sharesPrompts ? work.flops.shared : work.flops.apart,
    padding: 1 - needed / outcomes[0]!.steps[0]!.computed,
  };
}

export function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

export function responseShareOf(pairs: Pair[]): number {
  const responses = pairs.reduce((sum, { chosen, rejected }) => sum + chosen.length + rejected.length, 0);
  const all = pairs.reduce(
    (sum, { prompt, chosen, rejected }) => sum + 2 * (prompt.length - 1) + chosen.length + rejected.length,
    0,
  );
  return responses / all;
}
