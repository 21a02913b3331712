// How much of the machine others use, looked at just before a measurement, when nothing of the benchmark's own works.
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

const LOOK = 200;

/** Cores' worth of work by others. */
export async function lookForOthers(): Promise<number> {
  const before = readTimes();
  await sleep(LOOK);
  const after = readTimes();
  return (after.busy - before.busy) / ((after.all - before.all) / cpus().length);
}

function readTimes(): { busy: number; all: number } {
  let busy = 0;
  let all = 0;
  for (const { times } of cpus()) {
    const { user, nice, sys, irq, idle } = times;
    busy += user + nice + sys + irq;
    all += user + nice + sys + irq + idle;
  }
  return { busy, all };
}
