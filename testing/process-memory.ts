// The memory of this process as Linux counts it: VmRSS now, VmHWM at its peak.
import { readFile } from 'node:fs/promises';

export async function readProcessMemory(field: 'VmRSS' | 'VmHWM'): Promise<number> {
  const [, kilobytes] = new RegExp(`${field}:\\s+(\\d+) kB`).exec(await readFile('/proc/self/status', 'utf8'))!;
  return Number(kilobytes) * 1024;
}
