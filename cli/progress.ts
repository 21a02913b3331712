// Progress of a round and of an import: a bar with the time left on a terminal, a line every few seconds in a log. And of a
// copy, with its rate.

import { SingleBar } from 'cli-progress';
import { formatSeconds } from '../shared/format-seconds.ts';
import { log } from '../shared/log.ts';
import type { PublishListener } from '../shared/publish/progress.ts';
import type { ProgressListener } from '../trainer/main.ts';

const LINE_INTERVAL_MS = 5000;

/** Returns a listener that prints a round's stages and steps. */
export function createRoundLogger(): ProgressListener {
  const counter = createCounter();
  return (round, { stage, done, total, note, secondsLeft }) => {
    const print = (line: string) => log.info('trainer', `${round.id} ${line}`);
    const rest = secondsLeft === null ? '' : `; the round has about ${formatSeconds(secondsLeft)} left`;
    if (total > 0) counter.update({ label: stage, done, total, note: note + rest }, print);
    else {
      counter.stop();
      print(`${stage}: ${note}`);
    }
  };
}

/** Prints the stages of an import or of a changed precision; `stop` when it has ended. */
export function createPublishLogger(): { onProgress: PublishListener; stop(): void } {
  const counter = createCounter();
  return {
    onProgress: ({ stage, done, total }) => counter.update({ label: stage, done, total, note: '' }, console.log),
    stop: counter.stop,
  };
}

/** Counts the rows of an export on standard error, beside the export itself. */
export function createExportLogger(label: string, total: number) {
  const counter = createCounter();
  return {
    stop: counter.stop,
    async *count<T>(rows: AsyncIterable<T>): AsyncGenerator<T> {
      let done = 0;
      for await (const row of rows) {
        yield row;
        counter.update({ label, done: ++done, total, note: '' }, console.error);
      }
    },
  };
}

type Count = { label: string; done: number; total: number; note: string };

/** Shows one count after the other. */
function createCounter(): { update(count: Count, print: (line: string) => void): void; stop(): void } {
  let bar: SingleBar | null = null;
  let label = '';
  let lastLineMs = 0;
  const stop = () => {
    bar?.stop();
    bar = null;
  };
  function update(count: Count, print: (line: string) => void): void {
    const { done, total, note } = count;
    const isNew = count.label !== label || (bar !== null && bar.getTotal() !== total);
    label = count.label;
    if (!process.stdout.isTTY) {
      if (Date.now() - lastLineMs < LINE_INTERVAL_MS && done < total) return;
      lastLineMs = Date.now();
      print(`${label}: ${done}/${total} ${note}`.trimEnd());
    } else if (isNew || !bar) {
      stop();
      bar = new SingleBar({
        format: `  ${label} {bar} {value}/{total}  {note}  {eta_formatted} left`,
        hideCursor: true,
        barsize: 30,
      });
      bar.start(total, done, { note });
    } else bar.update(done, { note });
  }
  return { update, stop };
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
