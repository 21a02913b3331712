// Builds the pages before the API serves them, if their sources are newer.

import { buildIfStale } from '../pages/build.ts';
import { log } from '../shared/log.ts';

/** The API serves without them too: where nothing may be written (a service's user), whoever installs it builds. */
export function preparePages(logLine: (line: string) => void): void {
  try {
    buildIfStale(logLine);
  } catch (error) {
    log.error('pages', 'building failed, and /rate is not current; run `npm run build`', error);
  }
}
