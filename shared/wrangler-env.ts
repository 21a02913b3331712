/** Environment variables that keep wrangler offline and quiet, in development and in tests. */
export const WRANGLER_OFFLINE_ENV = {
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_WRITE_LOGS: 'false',
  // The banner includes a check for newer versions on the registry.
  WRANGLER_HIDE_BANNER: 'true',
};
