// The whole loop in a few minutes, through the public API alone: simulated raters with a stated taste compare
// generations, rounds learn from their votes, policies are published and swapped in, and at the end the newest policy is
// held against the reference on prompts nobody voted on. It talks to any Attune and needs nothing of ours but the API.

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { AttuneError } from '../../shared/error.ts';
import { type Client, type Health, openClient, type Policy } from './client.ts';
import { judgeStories, type Stories, writeStories } from './contest.ts';
import { fullPlan, type Plan, quickPlan } from './plan.ts';
import { startVisit } from './probe.ts';
import { openProgress } from './progress.ts';
import { type Prompts, takePrompts, writePrompts } from './prompts.ts';
import { followRound, untilServed } from './round.ts';
import { type Chapter, newestOf, type Story } from './story.ts';
import { percent, SIMULATED, writeTable } from './table.ts';
import { TASTE } from './taste.ts';
import { collectVotes } from './vote.ts';

export type DemoOptions = {
  url: string;
  apiKey?: string;
  /** where the report goes */
  out: string;
  log: (line: string) => void;
  /** one small round, too little to learn from */
  quick?: boolean;
  plan?: Plan;
};

/** Runs the demo and writes its report, also where something ends it early; then the error is thrown after. */
export async function runDemo({ url, apiKey, out, log, quick = false, plan }: DemoOptions): Promise<void> {
  const began = performance.now();
  const story: Story = {
    plan: plan ?? (quick ? quickPlan : fullPlan),
    url,
    startedAt: new Date(),
    seconds: 0,
    reference: null,
    first: null,
    chapters: [],
    prompts: [],
    referenceStories: null,
    newestStories: null,
    failure: null,
  };
  const client = openClient(url, apiKey);
  let failure: unknown = null;
  try {
    await play(client, story, log);
    if (!quick && !newestOf(story))
      throw new AttuneError('demo: the gate refused every policy, so none was published; the report says why', {
        code: 'nothing_published',
      });
  } catch (error) {
    failure = error;
    story.failure = error instanceof Error ? error.message : String(error);
  }
  story.seconds = (performance.now() - began) / 1000;
  // Without a server there is nothing to report.
  if (story.reference) {
    // Only now: the plotting library takes a moment to load, and other commands load this file too.
    const { writeReport } = await import('./report.ts');
    await writeFile(out, writeReport(story));
    log(`\n${writeTable(story)}\n`);
    log(`${(story.seconds / 60).toFixed(1)} minutes. Report: ${path.resolve(out)}`);
  }
  if (failure) throw failure;
}

async function play(client: Client, story: Story, log: (line: string) => void): Promise<void> {
  const { plan } = story;
  await meet(client, story);
  log(`Raters: ${SIMULATED}`);
  log(`Taste: ${TASTE}`);
  log(`Reference: ${story.reference}`);

  const prompts = writePrompts(plan.seed);
  story.prompts = takePrompts(prompts.evaluation, 0, plan.evaluationPrompts);
  log(`\nThe reference writes ${story.prompts.length} stories to be compared with`);
  story.referenceStories = await write(client, story, story.reference!, 0, log);
  for (let at = 0; at < plan.rounds; at++) {
    log(`\nRound ${at + 1} of ${plan.rounds}`);
    await playRound(client, story, prompts, at, log);
  }
}

/** Finds the policy that answers and the reference it is held against. */
async function meet(client: Client, story: Story): Promise<void> {
  const health = await client.get<Health>('/health');
  story.first = health.policy;
  const policy = await client.get<Policy>(`/v1/policies/${health.policy}`);
  story.reference = policy.reference ?? policy.id;
}

async function playRound(client: Client, story: Story, prompts: Prompts, at: number, log: (line: string) => void) {
  const { plan } = story;
  const asked = takePrompts(prompts.voting, at * plan.comparisons, plan.comparisons);
  const bar = openProgress('voting', 'comparisons', asked.length, log);
  const votes = await collectVotes(client, asked, plan, 1000 * plan.seed + 100_000 * at, bar.advance);
  bar.stop();
  log(`  ${votes.strict} preferences and ${votes.ties} ties`);

  const trained = performance.now();
  const visit = startVisit(client);
  let chapter: Chapter;
  try {
    const { round, checkpoints } = await followRound(client, plan, plan.seed + at, log);
    const trainSeconds = (performance.now() - trained) / 1000;
    const swapSeconds = round.policy ? await untilServed(client, round.policy) : 0;
    chapter = { votes, round, checkpoints, trainSeconds, visit: await visit.stop(), published: null };
    story.chapters.push(chapter);
    // The gate has said why among the round's events.
    if (!round.policy) return;
    log(`  ${round.policy} answers ${swapSeconds.toFixed(1)} s after the round ended`);
    story.newestStories = await write(client, story, round.policy, at + 1, log);
    const contest = judgeStories(story.newestStories.texts, story.referenceStories!.texts);
    chapter.published = { policy: round.policy, swapSeconds, contest };
    log(
      `  wins ${percent(contest.rate)} against the reference on prompts never voted on (95% interval ${percent(contest.low)} to ${percent(contest.high)})`,
    );
  } finally {
    await visit.stop();
  }
}

async function write(client: Client, story: Story, policy: string, at: number, log: (line: string) => void) {
  const { plan, prompts } = story;
  const bar = openProgress('stories', 'stories', prompts.length, log);
  // Seeds far from those of the votes, and others for every policy.
  const seed = 1_000_000_000 + 1_000_000 * plan.seed + 10_000 * at;
  const stories: Stories = await writeStories(client, policy, prompts, plan, seed, bar.advance);
  bar.stop();
  return stories;
}
