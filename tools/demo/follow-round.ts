// Requests a training round and follows it through the API: its events, its step metrics, and the hot swap at its end.

import { AttuneError } from '../../shared/error.ts';
import { openProgress, type Progress } from '../report/progress.ts';
import type { Checkpoint, Client, Health, Round } from './client.ts';
import type { DemoConfig } from './config.ts';

/** Without a trainer a round stays queued forever: warn after this long. */
const CLAIM_WARNING_MS = 60_000;
const SWAP_TIMEOUT_MS = 30_000;
const POLL_INTERVAL_MS = 1500;
const RECONNECT_DELAY_MS = 500;
const MAX_RECONNECTS = 5;

type RoundEvent = { message: string; type: string; data: { stage?: string } };

/** Requests a round and resolves when it has succeeded. Throws AttuneError if it fails or is cancelled. */
export async function followRound(client: Client, config: DemoConfig, settings: object, log: (line: string) => void) {
  const request = { method: { type: 'dil', dil: { ...config.training, ...settings } } };
  const { id } = await client.post<Round>('/v1/rounds', request);
  const claimWarning = setTimeout(() => {
    log(
      `  ${id} has been queued for a minute; check that a trainer is running (\`attune start\` runs one, \`attune serve\` does not)`,
    );
  }, CLAIM_WARNING_MS);
  const logged = new Set<string>();
  const steps = reportSteps(client, id, config, log);
  try {
    const round = await followEvents(client, id, (event) => {
      clearTimeout(claimWarning);
      const isTraining = event.type === 'stage' && event.data.stage === 'training';
      // Training ends with the first event of another stage; a metrics event means that it ran all its steps.
      if (!isTraining) steps.stop(event.type === 'metrics');
      // The gate's reason occurs twice: in its own event and in the last one.
      if (!logged.has(event.message)) log(`  ${event.message}`);
      logged.add(event.message);
      if (isTraining) steps.start();
    });
    if (round.status !== 'succeeded')
      throw new AttuneError(
        `demo: ${id} ${round.status} at stage ${round.stage}: ${round.reason ?? 'no reason given'}`,
        { code: 'round_failed' },
      );
    const { data } = await client.get<{ data: Checkpoint[] }>(`/v1/rounds/${id}/metrics`);
    return { round, checkpoints: data };
  } finally {
    clearTimeout(claimWarning);
    steps.stop();
  }
}

/** Resolves with the seconds until the edge serves `policy`. */
export async function waitUntilServed(client: Client, policy: string): Promise<number> {
  const started = performance.now();
  while (performance.now() - started < SWAP_TIMEOUT_MS) {
    const health = await client.get<Health>('/health');
    if (health.policy === policy) return (performance.now() - started) / 1000;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new AttuneError(
    `demo: the edge does not serve ${policy} ${SWAP_TIMEOUT_MS / 1000} s after its activation; check the edge's log`,
    { code: 'not_swapped' },
  );
}

async function followEvents(client: Client, id: string, onEvent: (event: RoundEvent) => void): Promise<Round> {
  let lastId: string | null = null;
  let failures = 0;
  while (true) {
    try {
      for await (const event of client.events(`/v1/rounds/${id}/events`, lastId)) {
        if (event.event === 'done') return event.data as Round;
        lastId = event.id ?? lastId;
        failures = 0;
        onEvent(event.data as RoundEvent);
      }
    } catch (error) {
      // A proxy or an idle timeout can cut the stream of a healthy round: reconnect after the last event.
      if (error instanceof AttuneError || ++failures > MAX_RECONNECTS) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_DELAY_MS));
  }
}

/** Shows progress by step while the round trains, polled from its metrics because events only report stages. */
function reportSteps(client: Client, id: string, config: DemoConfig, log: (line: string) => void) {
  let timer: NodeJS.Timeout | null = null;
  let bar: Progress | null = null;
  let total = 0;
  const poll = async () => {
    const { data } = await client.get<{ data: Checkpoint[] }>(`/v1/rounds/${id}/metrics`);
    const last = data.filter((checkpoint) => checkpoint.split === 'train').at(-1);
    if (!last) return;
    const { pairs } = await client.get<Round>(`/v1/rounds/${id}`);
    if (!timer) return;
    total = Math.ceil((pairs?.train ?? 0) / config.training.batch_pairs) * config.training.epochs;
    bar ??= openProgress('training', 'steps', total, log);
    bar.set(last.step_number, `loss ${last.metrics.loss?.toFixed(4)}, ${last.metrics.tokens_per_second} tokens/s`);
  };
  return {
    start() {
      // A failed poll only delays the progress bar.
      timer = setInterval(() => poll().catch(() => {}), POLL_INTERVAL_MS);
    },
    stop(isFinished = false) {
      if (timer) clearInterval(timer);
      timer = null;
      if (isFinished) bar?.set(total);
      bar?.stop();
      bar = null;
    },
  };
}
