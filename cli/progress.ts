// Progress of long work: a bar with rate and time left on a terminal, a plain line now and then in a log.

import { SingleBar } from 'cli-progress';
import type { Watch } from '../trainer/main.ts';

const LINE_INTERVAL_MS = 5000;

/** Shows a round's stages and steps. */
export function createRoundLogger(say: (line: string) => void): Watch {
  let bar: SingleBar | null = null;
  let last = 0;
  return (round, { stage, done, total, note }) => {
    if (total === 0) {
      bar?.stop();
      bar = null;
      say(`${round.id} ${stage}: ${note}`);
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
    } else if (Date.now() - last > LINE_INTERVAL_MS || done === total) {
      last = Date.now();
      say(`${round.id} ${stage}: ${done}/${total} ${note}`);
    }
  };
}
