// Progress of a round: a bar with the time left on a terminal, a line every few seconds in a log. And of a copy, with its
// rate.

import { SingleBar } from 'cli-progress';
import { log } from '../shared/log.ts';
import type { ProgressListener } from '../trainer/main.ts';

const LINE_INTERVAL_MS = 5000;

/** Returns a listener that prints a round's stages and steps. */
export function createRoundLogger(): ProgressListener {
  let bar: SingleBar | null = null;
  let lastLineMs = 0;
  return (round, { stage, done, total, note }) => {
    if (total === 0) {
      bar?.stop();
      bar = null;
      log.info('trainer', `${round.id} ${stage}: ${note}`);
      return;
    }
    if (process.stdout.isTTY) {
      // A stage may count several things, one after the other.
      if (bar?.getTotal() !== total) {
        bar?.stop();
        bar = new SingleBar({
          format: `  ${stage} {bar} {value}/{total}  {note}  {eta_formatted} left`,
          hideCursor: true,
          barsize: 30,
        });
        bar.start(total, done, { note });
      } else bar.update(done, { note });
    } else if (Date.now() - lastLineMs > LINE_INTERVAL_MS || done === total) {
      lastLineMs = Date.now();
      log.info('trainer', `${round.id} ${stage}: ${done}/${total} ${note}`);
    }
  };
}

/** Prints what is copied and at which rate, every few seconds, to standard error. */
export function createByteLogger(action: string): {
  onBytes(bytes: number, name: string): void;
  /** `120.3 MiB at 45.1 MiB/s` */
  describe(): string;
} {
  const startedMs = performance.now();
  let lastLineMs = startedMs;
  let total = 0;
  const inMiB = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const describe = () => `${inMiB(total)} at ${inMiB((1000 * total) / (performance.now() - startedMs))}/s`;
  return {
    describe,
    onBytes(bytes, name) {
      total += bytes;
      if (performance.now() - lastLineMs < LINE_INTERVAL_MS) return;
      lastLineMs = performance.now();
      console.error(`${action}: ${name}: ${describe()}`);
    },
  };
}
