// What happened in a demo, as far as it got: the table and the report are made of this and nothing else.

import type { Checkpoint, Round } from './client.ts';
import type { Contest, Stories } from './contest.ts';
import type { Plan } from './plan.ts';
import type { Visit } from './probe.ts';
import type { Votes } from './vote.ts';

export type Chapter = {
  votes: Votes;
  round: Round;
  checkpoints: Checkpoint[];
  trainSeconds: number;
  visit: Visit;
  /** null where the gate refused the policy */
  published: { policy: string; swapSeconds: number; contest: Contest } | null;
};

export type Story = {
  plan: Plan;
  url: string;
  startedAt: Date;
  seconds: number;
  reference: string | null;
  /** the policy that answered at the beginning: the reference, unless this Attune had learned before */
  first: string | null;
  chapters: Chapter[];
  prompts: string[];
  referenceStories: Stories | null;
  newestStories: Stories | null;
  /** what ended it early */
  failure: string | null;
};

export type Published = NonNullable<Chapter['published']>;

/** The newest policy that was published, with its contest against the reference. */
export function newestOf(story: Story): Published | null {
  return story.chapters.findLast((chapter) => chapter.published)?.published ?? null;
}

/** The held-out log-probabilities before and after a round, mean per token of each response. */
export function heldOutOf(chapter: Chapter): { before: Logps; after: Logps } | null {
  const evaluated = chapter.checkpoints.filter((checkpoint) => checkpoint.split === 'held_out' && checkpoint.logps);
  if (evaluated.length < 2) return null;
  return { before: evaluated[0]!.logps!, after: evaluated.at(-1)!.logps! };
}

export type Logps = { chosen: number[]; rejected: number[] };
