// A round as its client sees it: asked for, followed by its events, and at its end the policy that every new answer
// comes from.

import { AttuneError } from '../../shared/error.ts';
import type { Checkpoint, Client, Health, Round } from './client.ts';
import type { Plan } from './plan.ts';
import { openProgress, type Progress } from './progress.ts';

/** Without a trainer, a round waits for ever. */
const PATIENCE = 60_000;
const SWAP_PATIENCE = 30_000;
const LOOK_EVERY = 1500;

type RoundEvent = { message: string; type: string; data: { stage?: string } };

/** Asks for a round and follows it to its end. Throws AttuneError where it failed or nobody takes it up. */
export async function followRound(client: Client, plan: Plan, seed: number, log: (line: string) => void) {
  const asked = { method: { type: 'dil', dil: { ...plan.training, seed } } };
  const { id } = await client.post<Round>('/v1/rounds', asked);
  const unclaimed = setTimeout(() => {
    log(
      `  ${id} has waited a minute for a trainer; is one running? \`attune start\` has one, \`attune serve\` has none`,
    );
  }, PATIENCE);
  const said = new Set<string>();
  const steps = showSteps(client, id, plan, log);
  try {
    const round = await untilDone(client, id, (event) => {
      clearTimeout(unclaimed);
      const isTraining = event.type === 'stage' && event.data.stage === 'training';
      // The event after the training's own says how it ended.
      if (!isTraining) steps.stop(event.type === 'metrics');
      // The gate's reason comes twice: as its own event and as the round's end.
      if (!said.has(event.message)) log(`  ${event.message}`);
      said.add(event.message);
      if (isTraining) steps.start();
    });
    if (round.status !== 'succeeded')
      throw new AttuneError(`demo: ${id} ${round.status} while ${round.stage}: ${round.reason ?? 'no reason given'}`, {
        code: 'round_failed',
      });
    const { data } = await client.get<{ data: Checkpoint[] }>(`/v1/rounds/${id}/metrics`);
    return { round, checkpoints: data };
  } finally {
    clearTimeout(unclaimed);
    steps.stop();
  }
}

/** Waits until the edge answers from this policy; returns the seconds it took. */
export async function untilServed(client: Client, policy: string): Promise<number> {
  const started = performance.now();
  while (performance.now() - started < SWAP_PATIENCE) {
    const health = await client.get<Health>('/health');
    if (health.policy === policy) return (performance.now() - started) / 1000;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new AttuneError(`demo: ${policy} was activated, but the edge has not taken it up within 30 s; see its log`, {
    code: 'not_swapped',
  });
}

async function untilDone(client: Client, id: string, onEvent: (event: RoundEvent) => void): Promise<Round> {
  let last: string | null = null;
  let broken = 0;
  while (true) {
    try {
      for await (const event of client.events(`/v1/rounds/${id}/events`, last)) {
        if (event.event === 'done') return event.data as Round;
        last = event.id ?? last;
        broken = 0;
        onEvent(event.data as RoundEvent);
      }
    } catch (error) {
      // A stream may break where nothing is wrong with the round: a long silence, a proxy. It goes on after the last event.
      if (error instanceof AttuneError || ++broken > 5) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** Shows the steps of a round that trains; they come from its metrics, since events tell only stages. */
function showSteps(client: Client, id: string, plan: Plan, log: (line: string) => void) {
  let timer: NodeJS.Timeout | null = null;
  let bar: Progress | null = null;
  let total = 0;
  const look = async () => {
    const { data } = await client.get<{ data: Checkpoint[] }>(`/v1/rounds/${id}/metrics`);
    const last = data.filter((checkpoint) => checkpoint.split === 'train').at(-1);
    if (!last) return;
    const { pairs } = await client.get<Round>(`/v1/rounds/${id}`);
    if (!timer) return;
    total = Math.ceil((pairs?.train ?? 0) / plan.training.batch_pairs) * plan.training.epochs;
    bar ??= openProgress('training', 'steps', total, log);
    bar.set(last.step_number, `loss ${last.metrics.loss?.toFixed(4)}, ${last.metrics.tokens_per_second} tokens/s`);
  };
  return {
    start() {
      // A look that fails is only a step not shown.
      timer = setInterval(() => look().catch(() => {}), LOOK_EVERY);
    },
    stop(finished = false) {
      if (timer) clearInterval(timer);
      timer = null;
      if (finished) bar?.set(total);
      bar?.stop();
      bar = null;
    },
  };
}
