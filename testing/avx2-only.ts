// Runs a command on an AVX2 processor: on a newer one, the features that came after AVX2 are hidden from it.

import path from 'node:path';
import { compilePreload, type Preload } from './preload.ts';

/** Returns the reason as a string if they cannot be hidden here. */
export function hideNewerThanAvx2(): Promise<Preload | string> {
  return compilePreload(path.join(import.meta.dirname, 'avx2-only.c'));
}
