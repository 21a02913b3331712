// A round that passes the gate: from the active policy, on pairs that it can learn, and without the gate's guards.

import { requestRound } from '../shared/rounds/schedule.ts';
import type { EdgeServer } from './edge-server.ts';

/** Returns its id. `name` begins its prompts, so that they are those of no other round. */
export async function requestLearnableRound(server: EdgeServer, name: string): Promise<string> {
  for (let at = 0; at < 30; at++)
    await server.post('/v1/preferences', {
      prompt: `${name} ${at}:`,
      chosen: ' yes yes',
      rejected: ' no no',
      rater: 'test',
    });
  const guards = { gate_kl: 1e6, gate_chosen_drop: 1e6, gate_length: 1e6, gate_repetition: 1 };
  return (await requestRound(server.connection.db, 'api', { epochs: 8, early_stopping: 0, ...guards })).id;
}
