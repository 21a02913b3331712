// Where webhooks go and what signs them. Nothing goes out unsigned.

import { Webhook } from 'standardwebhooks';
import type { Settings } from '../settings.ts';

export type Target = { url: string; signer: Webhook };

/** Null where no webhooks are wanted. */
export function readTarget(settings: Pick<Settings, 'WEBHOOK_URL' | 'WEBHOOK_SECRET'>): Target | null {
  const { WEBHOOK_URL: url, WEBHOOK_SECRET: secret } = settings;
  // readSettings lets no URL be without a secret.
  if (url === undefined || secret === undefined) return null;
  return { url, signer: new Webhook(secret) };
}
