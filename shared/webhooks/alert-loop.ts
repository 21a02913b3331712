// Looks for alerts in a Node process, now and then. A Worker's cron does it each minute.

import type { Database } from '../database/connect.ts';
import { log } from '../log.ts';
import { isUnreachable } from '../postgres-errors.ts';
import { type AlertSettings, checkAlerts } from './alerts.ts';

const INTERVAL_MS = 10_000;

export function startAlerts(db: Database, settings: AlertSettings): { close(): Promise<void> } {
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  const run = async () => {
    try {
      await checkAlerts(db, settings);
    } catch (error) {
      if (!isUnreachable(error) && !isClosed) log.error('alerts', 'looking for alerts failed', error);
    }
    if (!isClosed) timer = setTimeout(next, INTERVAL_MS);
  };
  let running = Promise.resolve();
  const next = () => {
    running = run();
  };
  next();
  return {
    async close() {
      isClosed = true;
      clearTimeout(timer);
      await running;
    },
  };
}
