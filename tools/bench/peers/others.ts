// How much of the machine others used while something was measured. A figure means nothing without it: threads that wait
// for each other by spinning stand still when one of them loses its core.
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';

/** Of /proc's clock, which is 100 everywhere that Node runs. */
const TICKS_PER_SECOND = 100;
/** Seconds. In less, a tick more or less would pass for somebody's work. */
const LEAST = 0.3;

/** Begins to watch; what it returns ends it and says how many cores others kept busy, these processes left out. */
export function watchOthers(pids: number[]): () => number {
  const begin = readTimes(pids);
  return () => {
    const end = readTimes(pids);
    const seconds = (end.all - begin.all) / cpus().length;
    return seconds > LEAST ? Math.max(0, (end.busy - begin.busy - (end.own - begin.own)) / seconds) : 0;
  };
}

/** Seconds of all cores, and of these processes. */
function readTimes(pids: number[]): { busy: number; all: number; own: number } {
  const times = { busy: 0, all: 0, own: 0 };
  for (const { times: core } of cpus()) {
    const busy = core.user + core.nice + core.sys + core.irq;
    times.busy += busy / 1000;
    times.all += (busy + core.idle) / 1000;
  }
  for (const pid of pids) times.own += readOwn(pid);
  return times;
}

function readOwn(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name in brackets may hold spaces; after it come the state, and as 12th and 13th the ticks as user and as system.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
