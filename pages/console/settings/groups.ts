// Settings by what they are about. One that no group names is in the last.

const GROUPS: [title: string, names: RegExp][] = [
  ['Access', /^(HOST|PORT|API_KEY|CORS_|PUBLIC_|REQUESTS_PER|TOKENS_PER|WRONG_KEYS)/],
  ['Storage', /^(ATTUNE_HOME|DATABASE_URL|POLICY_STORE|AWS_|REDACT|RETENTION|IDEMPOTENCY|MAX_BODY)/],
  ['Serving', /^(SERVE_|MAX_ROWS|MAX_QUEUE|MAX_CONN|PRECISION|KV_|REQUEST_TIMEOUT|WORKER_|INFERENCE_|CONTAINERS)/],
  ['Collecting', /^(IMPLICIT|COMPARE)/],
  ['Canary', /^(CANARY|WATCH)/],
  ['Webhooks and alerts', /^(WEBHOOK|ALERT)/],
  ['Logs and traces', /^(LOG_|OTEL_)/],
  ['Schedule and trainer', /^(TRAIN_|ENGINE)/],
  ['Gate', /^GATE_/],
];
const OTHERS = 'Hyperparameters of a round';

export function groupSettings<Setting extends { name: string }>(settings: Setting[]): [string, Setting[]][] {
  const titles = [...GROUPS.map(([title]) => title), OTHERS];
  const grouped = Map.groupBy(settings, ({ name }) => GROUPS.find(([, names]) => names.test(name))?.[0] ?? OTHERS);
  return titles.flatMap((title) => (grouped.has(title) ? [[title, grouped.get(title)!] as [string, Setting[]]] : []));
}
