// The spans of a request, by OpenTelemetry's semantic conventions for HTTP and generative AI: one for the request, one below
// it for each prompt that was decoded, and an evaluation event for each response that a vote judges. They are made when
// the request has ended, out of its record, so that nothing has to be passed through the engine. They hold no content.

import type { Context, Span } from '@opentelemetry/api';
import type { Tracing } from '../shared/tracing.ts';
import type { GenerationRecord, RequestRecord, VoteRecord } from './http/request-record.ts';

/** Returns the id of the trace, or undefined if it is not sampled. */
export function traceRequest(tracing: Tracing, record: RequestRecord): string | undefined {
  const { api, tracer, readParent } = tracing;
  const { method, route, status, failure, startedAt } = record;
  const parent = readParent(record);
  const isKnown = record.path !== undefined;
  const span = tracer.startSpan(
    isKnown ? `${method} ${route}` : method,
    {
      kind: api.SpanKind.SERVER,
      startTime: startedAt,
      attributes: {
        'http.request.method': method,
        'url.scheme': 'http',
        'http.response.status_code': status,
        ...(isKnown ? { 'http.route': route, 'url.path': record.path! } : {}),
        ...(status >= 500 ? { 'error.type': failure?.code ?? String(status) } : {}),
        'attune.request.id': record.id,
        ...(record.key === undefined ? {} : { 'attune.key.id': record.key }),
      },
    },
    parent,
  );
  if (!span.isRecording()) return;
  const context = api.trace.setSpan(parent, span);
  for (const generation of record.generations) traceGeneration(tracing, generation, context);
  if (record.vote) addEvaluations(span, record.vote);
  if (status >= 500) span.setStatus({ code: api.SpanStatusCode.ERROR });
  span.end(startedAt + record.ms);
  return span.spanContext().traceId;
}

function traceGeneration({ api, tracer }: Tracing, generation: GenerationRecord, parent: Context): void {
  const { operation, model, sampling, startedAt, endedAt } = generation;
  tracer
    .startSpan(
      `${operation} ${model}`,
      {
        // The model runs in this process.
        kind: api.SpanKind.INTERNAL,
        startTime: startedAt,
        attributes: {
          'gen_ai.operation.name': operation,
          'gen_ai.provider.name': 'attune',
          'gen_ai.request.model': model,
          'gen_ai.request.choice.count': generation.choiceIds.length,
          'gen_ai.request.temperature': sampling.temperature,
          'gen_ai.request.top_p': sampling.topP,
          'gen_ai.request.max_tokens': sampling.maxTokens,
          'gen_ai.request.seed': sampling.seed,
          'gen_ai.response.id': generation.completionId,
          'gen_ai.response.model': generation.policyId,
          'gen_ai.response.finish_reasons': generation.finishReasons,
          'gen_ai.usage.input_tokens': generation.promptTokens,
          'gen_ai.usage.output_tokens': generation.completionTokens,
          // The first choice has the id of the response; a vote can name each of them.
          'attune.generation.ids': generation.choiceIds,
        },
      },
      parent,
    )
    .end(endedAt);
}

/** The score of the chosen and of the rejected response; no choice is no evaluation (skip). */
const SCORES: Record<string, [number, number]> = { a: [1, 0], b: [1, 0], tie: [0.5, 0.5], both_bad: [0, 0] };

function addEvaluations(span: Span, { choice, chosen, rejected }: VoteRecord): void {
  const scores = SCORES[choice];
  if (!scores) return;
  const isStrict = choice === 'a' || choice === 'b';
  for (const [at, id] of [chosen, rejected].entries()) {
    if (id === null) continue;
    span.addEvent('gen_ai.evaluation.result', {
      'gen_ai.evaluation.name': 'preference',
      'gen_ai.evaluation.score.value': scores[at]!,
      'gen_ai.evaluation.score.label': isStrict ? ['chosen', 'rejected'][at]! : choice,
      'gen_ai.response.id': id,
    });
  }
}
