// Measures whole optimization steps (forward, backward, clipping, AdamW) on one batch of pairs. Each measurement is a
// process of its own; peers alternate within each round. Results are rejected unless all peers compute the same losses.
import { seedRandom } from '../../shared/decoder/random.ts';
import { AttuneError } from '../../shared/error.ts';
import { readCheckpoint } from '../../shared/model/checkpoint.ts';
import { openEngine } from '../../trainer/engine/open-engine.ts';
import type { Model } from './models.ts';
import { type PeerScript, runTrainingPeer } from './run-training-peer.ts';
import type { StepWork } from './train-flops.ts';
import type { Pair, ReferenceLogps } from './train-pairs.ts';

export type StepsPlan = {
  source: string;
  variant: string;
  threads: number;
  pairs: (Pair & { refs: ReferenceLogps })[];
  learningRate: number;
  warmUp: number;
  steps: number;
};

/** `computed`: computed token positions, padding included. */
export type Step = { loss: number; gradNorm: number; seconds: number; computed: number };
export type StepsOutcome = {
  warm: Step[];
  steps: Step[];
  loadSeconds: number;
  peakBytes: number;
  /** Cores that other processes used meanwhile. */
  otherCores: number;
};

/** `sharesPrompts`: computes a prompt once for both of its responses. */
export type StepsPeer = { name: string; program: PeerScript; variant: string; sharesPrompts: boolean };

export type StepsResult = {
  peer: string;
  /** Seconds per step: median of each round's steps. */
  rounds: number[];
  median: number;
  best: number;
  peakMiB: number;
  loadSeconds: number;
  otherCores: number;
  /** Necessary operations of a step, each prompt once if the peer computes it once. */
  flops: number;
  /** Share of computed positions that are padding. */
  padding: number;
};

export async function measureSteps(
  peers: StepsPeer[],
  plan: Omit<StepsPlan, 'variant'>,
  work: StepWork,
  options: { rounds: number; stop: AbortSignal; log: (line: string) => void },
): Promise<StepsResult[]> {
  const outcomes = new Map<string, StepsOutcome[]>(peers.map(({ name }) => [name, []]));
  for (let round = 1; round <= options.rounds; round++) {
    for (const { name, program, variant } of peers) {
      options.stop.throwIfAborted();
      options.log(`round ${round} of ${options.rounds}: steps of ${name}`);
      outcomes.get(name)!.push(await runTrainingPeer<StepsOutcome>(program, { ...plan, variant }));
    }
    assertSameSteps(outcomes);
  }
  return peers.map((peer) => summarize(peer, outcomes.get(peer.name)!, work));
}

/** Reference log-probabilities: the model's own plus noise, so that every token affects the loss. */
export async function noisyReferences(model: Model, pairs: Pair[], threads: number): Promise<ReferenceLogps[]> {
  const { architecture, weights } = await readCheckpoint(model.folder);
  const engine = await openEngine({ architecture, weights, objective: {}, threads });
  try {
    const scores = await engine.score(
      pairs.flatMap(({ prompt, chosen, rejected }) =>
        [chosen, rejected].map((responseIds) => ({ promptIds: prompt, responseIds })),
      ),
    );
    const uniform = seedRandom(1, pairs.length);
    const addNoise = (logps: Float32Array) => Array.from(logps, (logp) => logp + NOISE_NATS * (uniform() - 0.5));
    return pairs.map((_, at) => ({ chosen: addNoise(scores[2 * at]!), rejected: addNoise(scores[2 * at + 1]!) }));
  } finally {
    await engine.close();
  }
}

/** Width of the uniform noise, in nats per token. */
const NOISE_NATS = 0.4;

/** Throws AttuneError if a peer's loss or gradient norm of any step differs from the first peer's. */
export function assertSameSteps(outcomes: ReadonlyMap<string, StepsOutcome[]>): void {
  const all = Array.from(outcomes, ([name, rounds]) => ({ name, rounds: rounds.map(allSteps) }));
  const [first] = all;
  for (const { name, rounds } of all) {
    for (const steps of rounds) {
      for (const [at, step] of steps.entries()) {
        const expected = first!.rounds[0]![at]!;
        for (const figure of ['loss', 'gradNorm'] as const) {
          if (isNear(step[figure], expected[figure])) continue;
          throw new AttuneError(
            `step ${at + 1}: the ${figure} of ${name} is ${step[figure]}, of ${first!.name} ${expected[figure]}; the peers do not compute the same and are not comparable`,
          );
        }
      }
    }
  }
}

function allSteps({ warm, steps }: StepsOutcome): Step[] {
  return [...warm, ...steps];
}

function isNear(a: number, b: number): boolean {
  return Math.abs(a - b) <= 1e-3 * Math.max(1, Math.abs(b));
}

function summarize({ name, sharesPrompts }: StepsPeer, outcomes: StepsOutcome[], work: StepWork): StepsResult {
  const rounds = outcomes.map(({ steps }) => median(steps.map(({ seconds }) => seconds)));
  const required = sharesPrompts ? work.tokens - work.repeatedTokens : work.tokens;
  return {
    peer: name,
    rounds,
    median: median(rounds),
    best: Math.min(...outcomes.flatMap(({ steps }) => steps.map(({ seconds }) => seconds))),
    peakMiB: Math.max(...outcomes.map(({ peakBytes }) => peakBytes)) / 2 ** 20,
    loadSeconds: median(outcomes.map(({ loadSeconds }) => loadSeconds)),
    otherCores: median(outcomes.map(({ otherCores }) => otherCores)),
    flops: sharesPrompts ? work.flops.shared : work.flops.separate,
    padding: 1 - required / outcomes[0]!.steps[0]!.computed,
  };
}

export function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

export function responseShare(pairs: Pair[]): number {
  const responses = pairs.reduce((sum, { chosen, rejected }) => sum + chosen.length + rejected.length, 0);
  const all = pairs.reduce(
    (sum, { prompt, chosen, rejected }) => sum + 2 * (prompt.length - 1) + chosen.length + rejected.length,
    0,
  );
  return responses / all;
}
