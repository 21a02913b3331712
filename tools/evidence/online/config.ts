// The grid of the online study: what one run of the loop depends on, and which runs there are.
import { mulberry32, shuffle } from '../../../shared/random.ts';
import type { ObjectiveInput } from '../../../trainer/objectives.ts';
import type { TasteName, Votes } from './tastes.ts';

export type OnlineMethod = {
  objective: 'lsif' | 'ukl' | 'bce' | 'dpo' | 'sft';
  reduction: 'mean' | 'sum';
  negatives: 'rejected' | 'both';
  reference: 'root' | 'parent';
  weighting: 'none' | 'importance';
  beta: number;
};

export type OnlineRunSpec = OnlineMethod & {
  taste: TasteName;
  /** The votes of the pairs that are trained on; held-out ones are always by taste. */
  votes: Votes;
  learningRate: number;
  /** Learned pairs that are trained on again, as a fraction of a round's new ones. */
  replay: number;
  rounds: number;
  seed: number;
};

export type OnlineSizes = {
  /** Prompts of a round with two responses each; fewer pairs, because of ties and equal responses. */
  trainPrompts: number;
  heldOutPrompts: number;
  evaluationPrompts: number;
  /** A response is one paragraph, of at most as many tokens. */
  maxTokens: number;
  batchPairs: number;
};

export const onlineSizes: OnlineSizes = {
  trainPrompts: 256,
  heldOutPrompts: 64,
  evaluationPrompts: 256,
  maxTokens: 64,
  batchPairs: 8,
};

const DIL = ['lsif', 'ukl', 'bce'] as const;
const REDUCTIONS = ['mean', 'sum'] as const;

/** Every objective in every form that is its own: dpo has no negatives to choose, sft none at all. */
export function listMethods(): OnlineMethod[] {
  const plain = { negatives: 'rejected', weighting: 'none', beta: 0.1, reference: 'root' } as const;
  const dil = DIL.flatMap((objective) =>
    REDUCTIONS.flatMap((reduction) =>
      (['rejected', 'both'] as const).flatMap((negatives) => [
        { ...plain, objective, reduction, negatives },
        { ...plain, objective, reduction, negatives, weighting: 'importance' as const },
        { ...plain, objective, reduction, negatives, reference: 'parent' as const },
      ]),
    ),
  );
  const dpo = (['root', 'parent'] as const).flatMap((reference) => [
    { ...plain, objective: 'dpo' as const, reduction: 'sum' as const, reference },
    { ...plain, objective: 'dpo' as const, reduction: 'mean' as const, beta: 1, reference },
  ]);
  const sft = REDUCTIONS.map((reduction) => ({ ...plain, objective: 'sft' as const, reduction }));
  return [...dil, ...dpo, ...sft];
}

export function toObjective({ objective, reduction, negatives, weighting, beta }: OnlineMethod): ObjectiveInput {
  return { objective, reduction, negatives, weighting, beta };
}

/** `lsif sum both parent` */
export function describeMethod(method: OnlineMethod): string {
  const { objective, reduction, negatives, reference, weighting, beta } = method;
  const isDil = (DIL as readonly string[]).includes(objective);
  return [
    objective,
    reduction,
    ...(isDil ? [negatives] : []),
    ...(objective === 'dpo' ? [`β ${beta}`] : []),
    ...(objective === 'sft' ? [] : [weighting === 'importance' ? 'root, weighted' : reference]),
  ].join(' ');
}

/** Replicates: each seed has a taste of its own, so that a mean over seeds is one over tastes too. */
export const REPLICATES: { seed: number; taste: TasteName }[] = [
  { seed: 1, taste: 'happy' },
  { seed: 2, taste: 'dialogue' },
  { seed: 3, taste: 'simple' },
];

export const PLAN_NAMES = ['methods', 'gate'] as const;

export type Plan = { name: (typeof PLAN_NAMES)[number]; sizes: OnlineSizes; specs: OnlineRunSpec[] };

const plain = { votes: 'taste', replay: 0, rounds: 3 } as const;

/** Every method at the middle learning rate. */
function planMethods(learningRate: number): Plan {
  const specs = REPLICATES.flatMap((replicate) => {
    const each = listMethods().map((method) => ({ ...plain, ...replicate, ...method, learningRate }));
    // Whole replicates first and methods in a mixed order, so that an interrupted study compares as much as it can.
    return shuffle(each, mulberry32(replicate.seed));
  });
  return { name: 'methods', sizes: onlineSizes, specs };
}

/** Candidates of known truth with many held-out pairs, on which statistics of the gate are compared. */
function planGate(learningRate: number): Plan {
  const methods = listMethods().filter((method) =>
    ['lsif mean rejected root', 'bce sum both parent', 'dpo sum β 0.1 root'].includes(describeMethod(method)),
  );
  const specs = REPLICATES.flatMap((replicate) =>
    (['taste', 'random', 'inverted'] as const).flatMap((votes) =>
      [learningRate / 4, learningRate].flatMap((learningRate) =>
        methods.map((method) => ({
          ...plain,
          ...replicate,
          ...method,
          votes,
          learningRate,
          rounds: votes === 'taste' ? 2 : 1,
        })),
      ),
    ),
  );
  return { name: 'gate', sizes: { ...onlineSizes, heldOutPrompts: 512 }, specs };
}

/** `learningRate`: a middle one for the size of the root policy. */
export function listPlans(learningRate: number): Plan[] {
  return [planMethods(learningRate), planGate(learningRate)];
}
