// Progress of a long task: a bar with rate and ETA on a terminal, a plain line every few seconds elsewhere.

import { SingleBar } from 'cli-progress';

export type Progress = { set(done: number, note?: string): void; advance(): void; stop(): void };

const LOG_INTERVAL_MS = 5000;

export function openProgress(label: string, unit: string, total: number, log: (line: string) => void): Progress {
  const started = performance.now();
  let done = 0;
  let lastLogged = started;
  const rate = () => (done / Math.max(1e-3, (performance.now() - started) / 1000)).toFixed(1);
  const bar = process.stdout.isTTY
    ? new SingleBar({
        format: `  ${label} {bar} {value}/{total} ${unit}  {rate}/s  {eta_formatted} left  {note}`,
        hideCursor: true,
        barsize: 28,
      })
    : null;
  bar?.start(total, 0, { rate: '–', note: '' });
  const set = (value: number, note = '') => {
    done = value;
    if (bar) bar.update(done, { rate: rate(), note });
    else if (performance.now() - lastLogged > LOG_INTERVAL_MS && done < total) {
      lastLogged = performance.now();
      const left = Math.round(((lastLogged - started) / 1000 / Math.max(1, done)) * (total - done));
      log(`  ${label}: ${done}/${total} ${unit}, ${rate()}/s, ${left} s left${note ? `, ${note}` : ''}`);
    }
  };
  return {
    set,
    advance: () => set(done + 1),
    stop: () => {
      bar?.stop();
      if (!bar) log(`  ${label}: ${done}/${total} ${unit} in ${((performance.now() - started) / 1000).toFixed(1)} s`);
    },
  };
}
