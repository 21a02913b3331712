// The grid of the online study: what one run of the loop depends on, and which runs there are.
import { hyperparametersSchema } from '../../../shared/hyperparameters.ts';
import { mulberry32, shuffle } from '../../../shared/random.ts';
import type { ObjectiveInput } from '../../../trainer/objectives.ts';
import type { TasteName, Votes } from './tastes.ts';

export type OnlineMethod = {
  objective: 'lsif' | 'ukl' | 'bce' | 'dpo' | 'sft' | 'distill';
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
  /** Votes on each comparison; default: one. */
  raters?: number;
  /** What happens to votes of one comparison that contradict each other; default: they are kept. */
  contradictions?: 'keep' | 'drop' | 'weigh';
  /** Of the reward that distill distils. */
  rewardLearningRate?: number;
  /** Which half of the comparisons is shown to raters; default: all of them are. */
  selection?: 'random' | 'uncertain' | 'certain';
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
  const plain = { negatives: 'rejected', weighting: 'none', beta: 1, reference: 'root' } as const;
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
    { ...plain, objective: 'dpo' as const, reduction: 'sum' as const, beta: 0.1, reference },
    { ...plain, objective: 'dpo' as const, reduction: 'mean' as const, reference },
  ]);
  const sft = REDUCTIONS.map((reduction) => ({ ...plain, objective: 'sft' as const, reduction }));
  const distill = [1, 0.3].map((beta) => ({
    ...plain,
    objective: 'distill' as const,
    reduction: 'sum' as const,
    beta,
  }));
  return [...dil, ...dpo, ...sft, ...distill];
}

export function toObjective({ objective, reduction, negatives, weighting, beta }: OnlineMethod): ObjectiveInput {
  return { objective, reduction, negatives, weighting, beta };
}

/** The objectives of Direct Imitation Learning, which take an expectation under the reference. */
export function isDil({ objective }: Pick<OnlineMethod, 'objective'>): boolean {
  return (DIL as readonly string[]).includes(objective);
}

/** `lsif sum both β 1 parent` */
export function describeMethod(method: OnlineMethod): string {
  const { objective, reduction, negatives, reference, weighting, beta } = method;
  return [
    objective,
    reduction,
    ...(isDil(method) ? [negatives] : []),
    ...(objective === 'sft' ? [] : [`β ${beta}`, weighting === 'importance' ? 'root, weighted' : reference]),
  ].join(' ');
}

/** Replicates: each seed has a taste of its own, so that a mean over seeds is one over tastes too. */
export const REPLICATES: { seed: number; taste: TasteName }[] = [
  { seed: 1, taste: 'happy' },
  { seed: 2, taste: 'dialogue' },
  { seed: 3, taste: 'simple' },
];

/** Six more, for the methods that the first three pick out of many. */
export const FRESH_REPLICATES: { seed: number; taste: TasteName }[] = [4, 5, 6, 7, 8, 9].map((seed) => ({
  seed,
  taste: REPLICATES[(seed - 1) % REPLICATES.length]!.taste,
}));

export const PLAN_NAMES = ['methods', 'confirm', 'representatives', 'gate', 'replay', 'votes', 'selection'] as const;
export type PlanName = (typeof PLAN_NAMES)[number];
export type Plan = { name: PlanName; sizes: OnlineSizes; specs: OnlineRunSpec[] };

const plain = { votes: 'taste', replay: 0, rounds: 3 } as const;

/** `learningRate`: a middle one for the size of the root policy. */
export function listPlans(learningRate: number): Plan[] {
  const select = (names: string[]) =>
    [...listMethods(), ...FLAT_BCE].filter((method) => names.includes(describeMethod(method)));
  const representatives = select(REPRESENTATIVES);
  const combine = (
    name: PlanName,
    variants: Partial<OnlineRunSpec>[],
    methods: OnlineMethod[],
    { sizes = onlineSizes, replicates = REPLICATES } = {},
  ) => {
    const specs = replicates.flatMap((replicate) => {
      const each = variants.flatMap((variant) =>
        methods.map((method) => ({
          ...plain,
          ...replicate,
          ...method,
          learningRate,
          ...variant,
          ...(method.objective === 'distill' && { rewardLearningRate: toRewardRate(learningRate) }),
        })),
      );
      // Whole replicates first and in a mixed order, so that an interrupted study compares as much as it can.
      return shuffle(each, mulberry32(replicate.seed));
    });
    return { name, sizes, specs };
  };
  const selection = combine('selection', SELECTIONS, representatives);
  const freshSelection = combine('selection', SELECTIONS.slice(0, 2), select([DEFAULT]), {
    replicates: FRESH_REPLICATES,
  });
  const rates = [{ learningRate: learningRate / 4 }, { learningRate }];
  return [
    combine('methods', rates, listMethods()),
    combine('confirm', rates, select(CANDIDATES), { replicates: FRESH_REPLICATES }),
    combine('representatives', [{}], representatives),
    combine(
      'gate',
      rates.flatMap((rate) => [
        { ...rate, rounds: 2 },
        { ...rate, votes: 'random', rounds: 1 },
        { ...rate, votes: 'inverted', rounds: 1 },
      ]),
      representatives,
      { sizes: { ...onlineSizes, heldOutPrompts: 512 } },
    ),
    combine(
      'replay',
      [0, 0.5, 1].map((replay) => ({ replay, rounds: 5 })),
      representatives,
    ),
    combine(
      'votes',
      (['keep', 'drop', 'weigh'] as const).map((contradictions) => ({ contradictions, raters: 3 })),
      representatives,
    ),
    // The default led with the uncertain ones on the three replicates, so it ran again on fresh ones.
    { ...selection, specs: [...selection.specs, ...freshSelection.specs] },
  ];
}

/** The best of `methods` over both learning rates, the paper's own setting, the baselines, and bce with dpo's β. */
const CANDIDATES = [
  'lsif mean rejected β 1 root',
  'bce mean both β 1 parent',
  'bce sum rejected β 1 parent',
  'ukl sum rejected β 1 parent',
  'bce sum rejected β 0.1 root',
  'bce sum rejected β 0.1 parent',
  'dpo sum β 0.1 root',
  'dpo sum β 0.1 parent',
];

/** bce with dpo's β, at which its sigmoids do not saturate: the default, and the same against the parent. */
const FLAT_BCE: OnlineMethod[] = (['root', 'parent'] as const).map((reference) => ({
  objective: 'bce',
  reduction: 'sum',
  negatives: 'rejected',
  weighting: 'none',
  beta: 0.1,
  reference,
}));

/** The paper's setting, the default and dpo: for studies of anything but the method, and for policies too large for all. */
const DEFAULT = 'bce sum rejected β 0.1 root';
const REPRESENTATIVES = ['lsif mean rejected β 1 root', DEFAULT, 'dpo sum β 0.1 root'];

const SELECTIONS = (['random', 'uncertain', 'certain'] as const).map((selection) => ({ selection }));

export type RewardLoss = 'bradley_terry' | 'density_ratio';

/** A reward, or the log-ratio of a policy that dpo trained on the same pairs. */
export type Ranker = RewardLoss | 'log_ratio';

export type BestOfSpec = Pick<OnlineRunSpec, 'taste' | 'seed' | 'learningRate'> & { ranker: Ranker };
/** As the defaults of a round relate them. */
function toRewardRate(learningRate: number): number {
  const { learning_rate, reward_learning_rate } = hyperparametersSchema.parse({});
  return learningRate * (reward_learning_rate / learning_rate);
}

export function listBestOfSpecs(learningRate: number): BestOfSpec[] {
  return REPLICATES.flatMap((replicate) =>
    (['bradley_terry', 'density_ratio', 'log_ratio'] as const).map((ranker) => ({
      ...replicate,
      learningRate,
      ranker,
    })),
  );
}
