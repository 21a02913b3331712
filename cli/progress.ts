// Progress of a round: a bar with the time left on a terminal, a line every few seconds in a log.

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
      if (!bar) {
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
