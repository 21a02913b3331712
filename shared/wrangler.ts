// How wrangler runs here, in development and in tests: nothing of it leaves this machine, and no log stays behind.

export const OFFLINE = {
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_WRITE_LOGS: 'false',
  // With its banner it asks the registry for newer versions.
  WRANGLER_HIDE_BANNER: 'true',
};
