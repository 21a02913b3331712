// What a training peer's process does: takes one plan from its standard input, does it, tells on its standard output
// with the most memory it held, ends.
import { createInterface } from 'node:readline';
import { readPeak } from './peer.ts';

export function answer<Plan>(work: (plan: Plan) => Promise<object>): void {
  const lines = createInterface({ input: process.stdin });
  // Whoever asked holds it open; a benchmark must leave nothing running.
  lines.once('close', () => process.exit(1));
  lines.once('line', async (line) => {
    const outcome = await work(JSON.parse(line));
    const told = JSON.stringify({ ...outcome, peakBytes: await readPeak(process.pid) });
    process.stdout.write(told, () => process.exit(0));
  });
}
