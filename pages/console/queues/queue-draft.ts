// The settings of a queue as a form has them: percent, minutes, and lists as texts. A change sends what differs, so that what
// somebody else changed meanwhile stays.

import type { Queue } from '../../api.ts';

type Settings = Queue['settings'];

export const PAIRINGS = [
  ['same', 'Two responses of one policy'],
  ['policies', 'One response each of two policies'],
  ['given', 'The response that an item gives, and a fresh one'],
  ['canary', 'A canary’s candidate and the active policy, while there is one'],
] as const;

export type Draft = {
  name: string;
  guidelines: string;
  pairing: (typeof PAIRINGS)[number][0];
  /** of `same` and `given`; '': the active one */
  policy: string;
  policies: [string, string];
  reviews: number;
  goldPercent: number;
  repeatPercent: number;
  maxTokens: number;
  temperature: number;
  tags: string;
  skills: string;
  strength: Settings['strength'];
  edits: boolean;
  reveal: boolean;
  order: Settings['order'];
  /** local, as of an input; '': none */
  deadline: string;
  minutes: number;
  calibrationItems: number;
  calibrationPercent: number;
  pausePercent: number;
  pauseItems: number;
};

/** The API's defaults. */
export const NEW_QUEUE: Draft = {
  name: '',
  guidelines: '',
  pairing: 'same',
  policy: '',
  policies: ['', ''],
  reviews: 1,
  goldPercent: 10,
  repeatPercent: 5,
  maxTokens: 512,
  temperature: 1,
  tags: '',
  skills: '',
  strength: 'optional',
  edits: true,
  reveal: false,
  order: 'random',
  deadline: '',
  minutes: 10,
  calibrationItems: 0,
  calibrationPercent: 60,
  pausePercent: 60,
  pauseItems: 10,
};

export function toDraft({ name, guidelines, settings }: Pick<Queue, 'name' | 'guidelines' | 'settings'>): Draft {
  const { pairing, calibration, pause } = settings;
  return {
    name,
    guidelines: guidelines.text,
    pairing: pairing.type,
    policy: ('policy' in pairing && pairing.policy) || '',
    policies: pairing.type === 'policies' ? (pairing.policies as [string, string]) : ['', ''],
    reviews: settings.reviews,
    goldPercent: toPercent(settings.gold_share),
    repeatPercent: toPercent(settings.repeat_share),
    maxTokens: settings.max_tokens,
    temperature: settings.temperature,
    tags: settings.tags.join(', '),
    skills: settings.skills.join(', '),
    strength: settings.strength,
    edits: settings.edits,
    reveal: settings.reveal,
    order: settings.order,
    deadline: settings.deadline === null ? '' : toLocal(new Date(settings.deadline)),
    minutes: settings.reservation_seconds / 60,
    calibrationItems: calibration.items,
    calibrationPercent: toPercent(calibration.accuracy),
    pausePercent: toPercent(pause?.gold_accuracy),
    pauseItems: pause?.gold_items ?? 1,
  };
}

/** The body of a request that creates a queue. */
export function toBody(draft: Draft) {
  return {
    name: draft.name.trim(),
    guidelines: draft.guidelines,
    pairing: toPairing(draft),
    reviews: draft.reviews,
    gold_share: draft.goldPercent / 100,
    repeat_share: draft.repeatPercent / 100,
    max_tokens: draft.maxTokens,
    temperature: draft.temperature,
    tags: splitList(draft.tags),
    skills: splitList(draft.skills),
    strength: draft.strength,
    edits: draft.edits,
    reveal: draft.reveal,
    order: draft.order,
    deadline: draft.deadline === '' ? null : new Date(draft.deadline).toISOString(),
    reservation_seconds: Math.round(draft.minutes * 60),
    calibration: { items: draft.calibrationItems, accuracy: draft.calibrationPercent / 100 },
    pause: { gold_accuracy: draft.pausePercent / 100, gold_items: draft.pauseItems },
  };
}

/** What of the body is another than before. */
export function findChanges(before: Draft, after: Draft): Partial<ReturnType<typeof toBody>> {
  const old = Object.entries(toBody(before));
  const same = new Set(old.map(([name, value]) => `${name} ${JSON.stringify(value)}`));
  return Object.fromEntries(
    Object.entries(toBody(after)).filter(([name, value]) => !same.has(`${name} ${JSON.stringify(value)}`)),
  );
}

export function splitList(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}

function toPairing({ pairing, policy, policies }: Draft): Settings['pairing'] {
  if (pairing === 'canary') return { type: pairing };
  if (pairing === 'policies') return { type: pairing, policies };
  return policy === '' ? { type: pairing } : { type: pairing, policy };
}

/** Without the noise of 100 · 0.07. Null: a rater reads, who may not know it. */
function toPercent(share: number | null | undefined): number {
  return Math.round(1e6 * (share ?? 0)) / 1e4;
}

/** `2026-11-30T12:00`, as an input of a local time has it. */
function toLocal(date: Date): string {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 16);
}
