// What the stages of a round are called, and how long each of them took, by the round's events.

import type { Round } from '../../api.ts';
import type { Tone } from '../parts/page.tsx';

type Stage = Round['stage'];

export const STAGE_NAMES: Record<Stage, string> = {
  queued: 'Waiting',
  selecting: 'Selecting pairs',
  scoring: 'Scoring',
  sampling: 'Sampling',
  training: 'Training',
  evaluating: 'Evaluating',
  publishing: 'Publishing',
  activating: 'Activating',
  canary: 'Canary',
  active: 'Active',
  rolled_back: 'Rolled back',
  previewed: 'Previewed',
  published: 'Published',
  refused: 'Refused by the gate',
  failed: 'Failed',
  cancelled: 'Cancelled',
};

const TONES: Partial<Record<Stage, Tone>> = {
  active: 'good',
  canary: 'busy',
  rolled_back: 'bad',
  refused: 'warn',
  failed: 'bad',
  published: 'good',
};

export function getTone({ status, stage }: Pick<Round, 'status' | 'stage'>): Tone {
  if (status === 'running') return 'busy';
  return TONES[stage] ?? 'quiet';
}

export const hasEnded = ({ status }: Pick<Round, 'status'>) => status !== 'queued' && status !== 'running';

export type RoundEvent = {
  id: number;
  level: 'info' | 'warn' | 'error';
  type: 'message' | 'metrics' | 'stage';
  message: string;
  data: Record<string, unknown> | null;
  created_at: number;
};

/** Unix seconds. `isOpen`: it goes on. */
export type StageSpan = { stage: Stage; from: number; to: number; isOpen: boolean };

/** From the request to the end, or to `now`. The stage in which it ended has no length, and is left out. */
export function listSpans(round: Round, events: RoundEvent[], now: number): StageSpan[] {
  const starts: { stage: Stage; from: number }[] = [{ stage: 'queued', from: round.created_at }];
  for (const { type, data, created_at } of events)
    if (type === 'stage' && typeof data?.stage === 'string')
      starts.push({ stage: data.stage as Stage, from: created_at });
  const ended = hasEnded(round);
  if (ended && starts.length > 1)
    starts.splice(
      starts.findIndex((one) => isFinal(one.stage)),
      Infinity,
    );
  const end = ended ? (round.finished_at ?? now) : now;
  return starts.map(({ stage, from }, at) => {
    const next = starts[at + 1];
    return { stage, from, to: Math.max(from, next?.from ?? end), isOpen: !next && !ended };
  });
}

const FINAL: Stage[] = ['canary', 'active', 'rolled_back', 'previewed', 'published', 'refused', 'failed', 'cancelled'];
const isFinal = (stage: Stage) => FINAL.includes(stage);

/** The page says above the log what the gate found: in the log it is only how it decided, and the stage that followed. */
export function shortenVerdict(events: RoundEvent[], { gate }: Pick<Round, 'gate'>): RoundEvent[] {
  if (!gate) return events;
  return events.map((event) => {
    if (!event.message.startsWith('gate: ')) return event;
    const stage = event.type === 'stage' && STAGE_NAMES[event.data?.stage as Stage];
    return { ...event, message: stage ? stage.toLowerCase() : `gate: ${gate.pass ? 'every check passed' : 'refused'}` };
  });
}
