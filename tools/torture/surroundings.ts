// Part e: what fails around the processes: the disk, the primary, the clock, and the whole machine.

import { runDiskFull } from './disk-full.ts';
import { runReadOnly } from './read-only.ts';
import type { Report } from './report.ts';
import { runRestoreDrill } from './restore-drill.ts';
import { runShiftedClocks } from './shifted-clocks.ts';

export async function runSurroundings(report: Report): Promise<void> {
  await runReadOnly(report);
  await runDiskFull(report);
  await runShiftedClocks(report);
  await runRestoreDrill(report);
}
