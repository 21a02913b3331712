// The metrics that both Node and the Workers report: one name, one set of buckets.

export const HTTP_DURATION = {
  name: 'attune_http_request_duration_seconds',
  help: 'From a request to the start of its response, without the rest of a stream.',
  /** upper bounds in seconds */
  buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600],
};

export const ACTIVE_POLICY_INFO = { name: 'attune_active_policy_info', help: '1 for the active policy.' };
