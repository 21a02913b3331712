// What guards compare, and how much worse each may be: what users would notice, and what the gate allows where it measures the same.

import { type Moments, summarize, summarizeShare } from './confidence-sequence.ts';

/** Sums over minutes, as policy_minutes has them, and thumbs. */
export type Served = {
  requests: number;
  errors: number;
  load_failures: number;
  first_tokens: number;
  first_token_log: number;
  first_token_log_squares: number;
  responses: number;
  length_stops: number;
  empty: number;
  length_log: number;
  length_log_squares: number;
  repetition: number;
  repetition_squares: number;
  thumbs: number;
  thumbs_up: number;
};

export type Compared = {
  name: 'errors' | 'first_token' | 'finish_reasons' | 'length' | 'repetition' | 'empty' | 'thumbs';
  label: string;
  unit: 'share' | 'seconds' | 'tokens';
  read(served: Served): Moments;
  /** a mean of the moments in the unit */
  show(mean: number): number;
  /** up: more is worse; down: less is; both: any change */
  worse: 'up' | 'down' | 'both';
  tolerance: number;
  /** of what was served one after the other: in other hours, of another load and other requests; null: it says nothing then */
  toleranceApart?: number | null;
  /** in the unit, of a ratio: a difference that nobody notices, however large the ratio */
  floor?: number;
  /** observations of each policy below which it waits */
  minCount: number;
};

/** Below, the normal approximation is too narrow (confidence-sequence.test.ts). */
const MIN_COUNT = 50;
/** Of what hardly ever happens, and is at once much more frequent if a policy is broken. */
const MIN_COUNT_OF_FAILURES = 20;

const asItIs = (mean: number) => mean;

/** Times and lengths are compared as ratios, by their logarithms, whose distribution has no long tail. */
export const COMPARED: readonly Compared[] = [
  {
    name: 'errors',
    label: 'requests that failed',
    unit: 'share',
    read: ({ requests, errors }) => summarizeShare(requests, errors),
    show: asItIs,
    worse: 'up',
    // Two requests in a hundred more: clients that retry once see one in two thousand.
    tolerance: 0.02,
    toleranceApart: 0.1,
    minCount: MIN_COUNT_OF_FAILURES,
  },
  {
    name: 'first_token',
    label: 'time to the first token',
    unit: 'seconds',
    read: (served) => summarize(served.first_tokens, served.first_token_log, served.first_token_log_squares),
    show: Math.exp,
    worse: 'up',
    // Of a small share of the traffic fewer prefixes are cached and smaller batches are computed.
    tolerance: Math.log(1.5),
    // It is mostly the load: the queue, and what else the processors compute.
    toleranceApart: null,
    // Up to a tenth of a second people take an answer for immediate (Miller 1968; Nielsen 1993).
    floor: 0.1,
    minCount: MIN_COUNT,
  },
  {
    name: 'finish_reasons',
    label: 'responses that were cut at their maximum length',
    unit: 'share',
    read: ({ responses, length_stops }) => summarizeShare(responses, length_stops),
    show: asItIs,
    worse: 'up',
    tolerance: 0.1,
    toleranceApart: 0.3,
    minCount: MIN_COUNT,
  },
  {
    name: 'length',
    label: 'length of a response',
    unit: 'tokens',
    read: ({ responses, length_log, length_log_squares }) => summarize(responses, length_log, length_log_squares),
    show: Math.expm1,
    worse: 'both',
    // GATE_LENGTH's default.
    tolerance: Math.log(1.5),
    toleranceApart: Math.log(3),
    // Half a line: "Yes." and "Yes, it is." are equally good.
    floor: 10,
    minCount: MIN_COUNT,
  },
  {
    name: 'repetition',
    label: 'share of repeated 4-grams',
    unit: 'share',
    read: ({ responses, repetition, repetition_squares }) => summarize(responses, repetition, repetition_squares),
    show: asItIs,
    worse: 'up',
    // GATE_REPETITION's default.
    tolerance: 0.1,
    toleranceApart: 0.2,
    minCount: MIN_COUNT,
  },
  {
    name: 'empty',
    label: 'empty responses',
    unit: 'share',
    read: ({ responses, empty }) => summarizeShare(responses, empty),
    show: asItIs,
    worse: 'up',
    // As errors: an empty response is none.
    tolerance: 0.02,
    minCount: MIN_COUNT_OF_FAILURES,
  },
  {
    name: 'thumbs',
    label: 'thumbs up',
    unit: 'share',
    read: ({ thumbs, thumbs_up }) => summarizeShare(thumbs, thumbs_up),
    show: asItIs,
    worse: 'down',
    tolerance: 0.05,
    minCount: MIN_COUNT,
  },
];
