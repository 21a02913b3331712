// The log line of a request.

import { type LogFields, log } from '../shared/log.ts';
import type { RequestRecord } from './http/request-record.ts';

/** `traceId`: of the request's span, if traces are exported. */
export function logRequest(record: RequestRecord, traceId?: string): void {
  const { method, route, status, failure } = record;
  const message = `${method} ${route} ${status}`;
  const fields = { ...toFields(record), trace_id: traceId };
  if (failure?.code === 'internal_error') log.error('http', message, failure.thrown, fields);
  else if (status >= 500) log.warn('http', message, fields);
  else log.info('http', message, fields);
}

function toFields(record: RequestRecord): LogFields {
  const { id, method, route, status, generations, failure } = record;
  const sum = (field: 'promptTokens' | 'completionTokens') =>
    generations.length > 0 ? generations.reduce((total, generation) => total + generation[field], 0) : undefined;
  return {
    request_id: id,
    method,
    route,
    status,
    ms: round(record.ms),
    response_ms: record.ms === record.responseMs ? undefined : round(record.responseMs),
    key: record.key,
    policy: [...new Set(generations.map(({ policyId }) => policyId))].join() || undefined,
    prompt_tokens: sum('promptTokens'),
    completion_tokens: sum('completionTokens'),
    error: failure?.code ?? undefined,
  };
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100;
}
