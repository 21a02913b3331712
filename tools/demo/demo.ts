// The feedback loop end to end through the public API: simulated raters vote on comparisons, rounds train on the votes,
// policies are published and hot-swapped, and each is compared with the reference on prompts without votes. Works with any
// Attune server.

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AttuneError, getErrorMessage } from '../../shared/error.ts';
import { openProgress } from '../report/progress.ts';
import { formatPercent } from '../report/statistics.ts';
import { type Client, type Health, openClient, type Policy } from './client.ts';
import { collectVotes } from './collect-votes.ts';
import { type DemoConfig, fullConfig, quickConfig } from './config.ts';
import { type Continuations, compareTexts, generateContinuations } from './evaluation.ts';
import { followRound, waitUntilServed } from './follow-round.ts';
import { type CanaryResult, judgeCanary } from './judge-canary.ts';
import { startProbe } from './probe.ts';
import { cyclePrompts, makePrompts, type Prompts, slicePrompts } from './prompts.ts';
import { SCORING_RULE } from './raters.ts';
import { type DemoResult, getNewestPublication, type RoundResult } from './result.ts';
import { formatSummary, SIMULATED_NOTE } from './summary.ts';

export type DemoOptions = {
  url: string;
  apiKey?: string;
  /** path of the report */
  out: string;
  log: (line: string) => void;
  /** one small round, too few pairs to learn from */
  quick?: boolean;
  config?: DemoConfig;
};

/** Runs the demo and writes its report, of a partial run too; then rethrows the error that ended it. */
export async function runDemo({ url, apiKey, out, log, quick = false, config }: DemoOptions): Promise<void> {
  const started = performance.now();
  const result: DemoResult = {
    config: config ?? (quick ? quickConfig : fullConfig),
    url,
    startedAt: new Date(),
    seconds: 0,
    reference: null,
    initialPolicy: null,
    rounds: [],
    prompts: [],
    referenceTexts: null,
    newestTexts: null,
    failure: null,
  };
  const client = openClient(url, apiKey);
  let failure: unknown = null;
  try {
    await runRounds(client, result, log);
    if (!quick && !getNewestPublication(result))
      throw new AttuneError(
        'demo: no policy became active, because the gate or its canary refused each; the report has the reasons',
        {
          code: 'nothing_published',
        },
      );
  } catch (error) {
    failure = error;
    result.failure = getErrorMessage(error);
  }
  result.seconds = (performance.now() - started) / 1000;
  // Unset when the server was never reached: nothing to report.
  if (result.reference) {
    // Loaded on demand: echarts takes a moment, and every `attune` command imports this file.
    const { renderReport } = await import('./report.ts');
    await writeFile(out, await renderReport(result));
    log(`\n${formatSummary(result)}\n`);
    log(`${(result.seconds / 60).toFixed(1)} minutes. Report: ${path.resolve(out)}`);
  }
  if (failure) throw failure;
}

async function runRounds(client: Client, result: DemoResult, log: (line: string) => void): Promise<void> {
  const { config } = result;
  await readPolicies(client, result);
  log(`Raters: ${SIMULATED_NOTE}`);
  log(`Scoring rule: ${SCORING_RULE}`);
  log(`Reference: ${result.reference}`);

  const prompts = makePrompts(config.seed);
  result.prompts = slicePrompts(prompts.evaluation, 0, config.evaluationPrompts);
  log(`\nGenerating ${result.prompts.length} continuations with the reference`);
  result.referenceTexts = await generate(client, result, result.reference!, 0, log);
  for (let index = 0; index < config.rounds; index++) {
    log(`\nRound ${index + 1} of ${config.rounds}`);
    await runRound(client, result, prompts, index, log);
  }
}

/** Finds the active policy and its reference. */
async function readPolicies(client: Client, result: DemoResult): Promise<void> {
  const health = await client.get<Health>('/health');
  result.initialPolicy = health.policy;
  const policy = await client.get<Policy>(`/v1/policies/${health.policy}`);
  result.reference = policy.reference ?? policy.id;
}

async function runRound(
  client: Client,
  result: DemoResult,
  prompts: Prompts,
  index: number,
  log: (line: string) => void,
): Promise<void> {
  const { config } = result;
  const inverted = index === config.inverted?.round ? config.inverted : null;
  const isInverted = inverted !== null;
  const voted = cyclePrompts(prompts.voting, index * config.comparisons, config.comparisons);
  if (isInverted) log('  on purpose, the raters now choose what they like less, and the gate has no guards');
  const seed = 1000 * config.seed + 100_000 * index;
  const votes = await withBar(voted.length, log, (onVote) =>
    collectVotes(client, voted, config, seed, { onVote, isInverted }),
  );
  log(`  ${votes.strict} preferences and ${votes.ties} ties`);

  const started = performance.now();
  const probe = startProbe(client);
  try {
    const settings = { seed: config.seed + index, ...inverted?.training };
    const { round, checkpoints } = await followRound(client, config, settings, log);
    const trainSeconds = (performance.now() - started) / 1000;
    const canary =
      round.stage === 'canary' ? await tryPolicy(client, result, prompts, index, round.policy!, log) : null;
    const isActive = round.policy !== null && canary?.state !== 'rolled_back';
    const swapSeconds = isActive ? await waitUntilServed(client, round.policy!) : 0;
    const roundResult: RoundResult = {
      votes,
      round,
      checkpoints,
      trainSeconds,
      probe: await probe.stop(),
      publication: null,
      canary: null,
    };
    result.rounds.push(roundResult);
    // Rejected by the gate: the reason was logged with the round's events.
    if (!round.policy) return;
    if (isActive) log(`  the edge serves ${round.policy} ${swapSeconds.toFixed(1)} s after it became active`);
    const texts = await generate(client, result, round.policy, index + 1, log);
    const winRate = compareTexts(texts.texts, result.referenceTexts!.texts);
    if (canary) roundResult.canary = { ...canary, winRate };
    if (isActive) {
      result.newestTexts = texts;
      roundResult.publication = { policy: round.policy, swapSeconds, winRate };
    }
    log(
      `  win rate against the reference on evaluation prompts: ${formatPercent(winRate.rate)} (95% interval ${formatPercent(winRate.low)} to ${formatPercent(winRate.high)})`,
    );
  } finally {
    await probe.stop();
  }
}

/** Raters who are honest again vote on the canary. One that they leave undecided is promoted by hand, as an operator may. */
async function tryPolicy(
  client: Client,
  { config }: DemoResult,
  { voting }: Prompts,
  index: number,
  policy: string,
  log: (line: string) => void,
): Promise<CanaryResult> {
  log(`  ${policy} is a canary: it is compared with the active policy, blind`);
  const compared = cyclePrompts(voting, (index + 0.5) * config.comparisons, config.canaryComparisons);
  const seed = 1000 * config.seed + 100_000 * index + 50_000;
  const canary = await withBar(compared.length, log, (onVote) =>
    judgeCanary(client, policy, compared, config, seed, onVote),
  );
  log(`  ${policy} is ${canary.state.replace('_', ' ')}: ${canary.reason}`);
  if (canary.state !== 'undecided') return canary;
  await client.post(`/v1/policies/${policy}/promote`, {});
  return { ...canary, reason: `${canary.reason}; promoted by hand` };
}

async function withBar<Result>(
  total: number,
  log: (line: string) => void,
  work: (onVote: () => void) => Promise<Result>,
): Promise<Result> {
  const bar = openProgress('voting', 'comparisons', total, log);
  try {
    return await work(bar.advance);
  } finally {
    bar.stop();
  }
}

async function generate(
  client: Client,
  result: DemoResult,
  policy: string,
  index: number,
  log: (line: string) => void,
): Promise<Continuations> {
  const { config, prompts } = result;
  const bar = openProgress('evaluation', 'continuations', prompts.length, log);
  // Disjoint from the seeds of the votes, and different for every policy.
  const seed = 1_000_000_000 + 1_000_000 * config.seed + 10_000 * index;
  const continuations = await generateContinuations(client, policy, prompts, config, seed, bar.advance);
  bar.stop();
  return continuations;
}
