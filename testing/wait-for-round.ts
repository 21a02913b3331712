// A round as the API shows it once a trainer has ended it.

import { setTimeout as sleep } from 'node:timers/promises';
import { hasEnded } from '../shared/database/round-types.ts';
import type { EdgeServer, Json } from './edge-server.ts';

const POLL_INTERVAL_MS = 100;
const ATTEMPTS = 1200;

export async function waitForRound({ request }: Pick<EdgeServer, 'request'>, id: string): Promise<Json> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const { body: round } = await request(`/v1/rounds/${id}`);
    if (hasEnded(round.status)) return round;
    await sleep(POLL_INTERVAL_MS);
  }
  throw new Error(`${id} did not finish`);
}
