// Where webhooks go and what signs them. Nothing goes out unsigned.

import { Webhook } from 'standardwebhooks';
import { AttuneError } from '../error.ts';
import type { Settings } from '../settings.ts';

export type Target = { url: string; signer: Webhook };

/** Null where no webhooks are wanted. */
export function readTarget(settings: Pick<Settings, 'WEBHOOK_URL' | 'WEBHOOK_SECRET'>): Target | null {
  const { WEBHOOK_URL: url, WEBHOOK_SECRET: secret } = settings;
  if (url === undefined) return null;
  if (secret === undefined)
    throw new AttuneError(
      'settings: WEBHOOK_URL is set and WEBHOOK_SECRET is not; set it to `echo whsec_$(openssl rand -base64 32)`',
      { code: 'invalid_settings' },
    );
  return { url, signer: new Webhook(secret) };
}
