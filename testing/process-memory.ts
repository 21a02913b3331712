// The memory of a process, by default this one, as Linux counts it: VmRSS now, VmHWM at its peak. NaN of one that has ended.
import { readFile } from 'node:fs/promises';

export async function readProcessMemory(field: 'VmRSS' | 'VmHWM', pid: number | 'self' = 'self'): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
}
