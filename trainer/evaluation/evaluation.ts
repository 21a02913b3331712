// Evaluation of a policy on held-out pairs (loss, TRL's reward metrics, log-probabilities of each pair) and on its own
// samples next to the baseline's: KL to the root, length, repetition. Each number has a confidence interval.
import type { Interval } from '../../shared/database/round-types.ts';
import type { Architecture } from '../../shared/model/architecture.ts';
import type { Weights } from '../../shared/model/tensor.ts';
import { type Estimate, estimate, estimateMean, weightedRatio } from '../../shared/statistics/confidence-interval.ts';
import { countRepeatedNgrams } from '../../shared/statistics/repeated-ngrams.ts';
import type { Engine, PairOutcome, Sequence, TrainPair } from '../engine/engine.ts';
import { distinctNgramRatio, type RolloutRequest, sampleResponses } from './rollouts.ts';
import { evaluateInChunks, scoreInChunks } from './score-chunks.ts';

export type Evaluation = {
  metrics: Record<string, number>;
  /** Intervals of some of the metrics; null if there are too few prompts. */
  intervals: Record<string, Interval | null>;
  /** Mean log-probability per token, for each pair. */
  logps: { chosen: number[]; rejected: number[] };
  outcomes: PairOutcome[];
  /** The prompt of each pair; pairs with the same prompt are resampled together. */
  prompts: string[];
};

/** One forward pass over the pairs, which have no weights. */
export async function evaluatePolicy(
  engine: Engine,
  pairs: TrainPair[],
  seed = 0,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<Evaluation> {
  const { metrics, outcomes } = await evaluateInChunks(engine, pairs, (done) => onProgress(done, pairs.length));
  const prompts = pairs.map(({ chosen }) => chosen.promptIds.join());
  const interval = (values: number[]) => estimateMean(values, prompts, seed).interval;
  const margins = outcomes.map(({ chosenLogRatio, rejectedLogRatio }) => chosenLogRatio - rejectedLogRatio);
  return {
    metrics,
    intervals: {
      loss: interval(outcomes.map((outcome) => outcome.loss)),
      'rewards/margins': interval(margins),
      'rewards/accuracies': interval(margins.map((margin) => (margin > 0 ? 1 : 0))),
    },
    logps: {
      chosen: pairs.map(({ chosen }, at) => outcomes[at]!.chosenLogp / chosen.responseIds.length),
      rejected: pairs.map(({ rejected }, at) => outcomes[at]!.rejectedLogp / rejected.responseIds.length),
    },
    outcomes,
    prompts,
  };
}

export type SampleEvaluation = {
  /** The candidate's objective/kl and completions/… */
  metrics: Record<string, number>;
  /** The baseline's completions/… */
  baseline: Record<string, number>;
  /** KL(policy ‖ root) in nats, per response and per token. */
  kl: Estimate;
  klPerToken: Estimate;
  /** The candidate's mean length over the baseline's. */
  lengthRatio: Estimate;
  /** The candidate's share of repeated 4-grams minus the baseline's. */
  repetitionGrowth: Estimate;
  sampleCount: number;
};

export type SampleOptions = {
  architecture: Architecture;
  /** The responses that each policy gives, and how many of them at once. */
  requests: RolloutRequest[];
  rows: number;
  /** Holds the candidate. */
  engine: Engine;
  readBaseline(): Promise<Weights>;
  /** Called after sampling; the engine is closed once it has scored the samples. */
  openRoot(): Promise<Engine>;
  seed: number;
  threads: number;
  /** For temporary files: the float32 weights. */
  folder: string;
  onProgress(done: number, total: number): void;
};

/**
 * Samples baseline and candidate on the same prompts with the same seeds, and scores the candidate's samples under the
 * candidate and under the root. Besides the candidate, at most one other model is in memory at a time.
 */
export async function evaluateSamples(options: SampleOptions): Promise<SampleEvaluation> {
  const { architecture, folder, seed, threads, engine, requests, rows } = options;
  // Four passes over the samples: two that sample and two that score.
  const report = (pass: number) => (done: number) =>
    options.onProgress(pass * requests.length + done, 4 * requests.length);
  const sample = (readWeights: () => Promise<Weights>, pass: number) =>
    sampleResponses({ architecture, readWeights, folder, seed, threads, rows }, requests, report(pass));
  const baselineSamples = await sample(options.readBaseline, 0);
  const candidateSamples = await sample(() => engine.weights(), 1);
  const logps = (await scoreInChunks(engine, candidateSamples, report(2))).map(sumOf);
  const root = await options.openRoot();
  try {
    const rootLogps = (await scoreInChunks(root, candidateSamples, report(3))).map(sumOf);
    return compareSamples(requests, baselineSamples, candidateSamples, logps, rootLogps, options);
  } finally {
    await root.close();
  }
}

export const sumOf = (logps: Float32Array) => logps.reduce((total, logp) => total + logp, 0);

/** logps and rootLogps [samples]: summed log-probabilities of the candidate's samples. */
function compareSamples(
  requests: RolloutRequest[],
  baselineSamples: Sequence[],
  samples: Sequence[],
  logps: number[],
  rootLogps: number[],
  { seed, architecture }: SampleOptions,
): SampleEvaluation {
  const prompts = requests.map(({ promptIndex }) => promptIndex);
  const baseline = summarize(baselineSamples, architecture);
  const candidate = summarize(samples, architecture);
  const logRatios = logps.map((logp, at) => logp - rootLogps[at]!);
  const kl = estimateMean(logRatios, prompts, seed);
  const klPerToken = estimate(prompts, (weights) => weightedRatio(weights, logRatios, candidate.lengths), seed);
  return {
    metrics: { 'objective/kl': kl.value, 'objective/kl_per_token': klPerToken.value, ...candidate.metrics },
    baseline: baseline.metrics,
    kl,
    klPerToken,
    lengthRatio: estimate(prompts, (weights) => weightedRatio(weights, candidate.lengths, baseline.lengths), seed),
    repetitionGrowth: estimate(
      prompts,
      (weights) =>
        weightedRatio(weights, candidate.repeated, candidate.ngrams) -
        weightedRatio(weights, baseline.repeated, baseline.ngrams),
      seed,
    ),
    sampleCount: requests.length,
  };
}

function summarize(sequences: Sequence[], { eos }: Architecture) {
  const responses = sequences.map(({ responseIds }) => responseIds);
  const lengths = responses.map(({ length }) => length);
  const repeats = responses.map(countRepeatedNgrams);
  const repeated = repeats.map((response) => response.repeated);
  const ngrams = repeats.map((response) => response.total);
  const all = new Float64Array(responses.length).fill(1);
  return {
    lengths,
    repeated,
    ngrams,
    metrics: {
      'completions/mean_length': weightedRatio(all, lengths),
      'completions/clipped_ratio': weightedRatio(
        all,
        responses.map((tokens) => (eos.includes(tokens.at(-1)!) ? 0 : 1)),
      ),
      'completions/repetition': weightedRatio(all, repeated, ngrams),
      'completions/distinct_2': distinctNgramRatio(responses, 2),
    },
  };
}
