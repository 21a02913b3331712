// The spans of a round, if traces are exported: one for the round as this trainer runs it, and one below it for each stage.

import type { Context, Span } from '@opentelemetry/api';
import { eq } from 'drizzle-orm';
import type { Database } from '../shared/database/connect.ts';
import { rounds } from '../shared/database/schema.ts';
import type { RoundRow } from '../shared/rounds/schedule.ts';
import type { Tracing } from '../shared/tracing.ts';
import type { Progress } from './stages/log.ts';

export class RoundTrace {
  private readonly tracing: Tracing | null;
  private readonly round: Span | undefined;
  private readonly context: Context | undefined;
  private stage: Span | undefined;
  private stageName: string | undefined;

  constructor(tracing: Tracing | null, { id, trigger, attempts }: RoundRow) {
    this.tracing = tracing;
    if (!tracing) return;
    const { api, tracer } = tracing;
    const attributes = {
      'attune.round.id': id,
      'attune.round.trigger': trigger,
      'attune.round.attempt': attempts,
    };
    this.round = tracer.startSpan('round', { attributes }, api.ROOT_CONTEXT);
    this.context = api.trace.setSpan(api.ROOT_CONTEXT, this.round);
  }

  /** Progress without a total announces a stage, or says what it does next. */
  observe({ stage, done, total }: Progress): void {
    if (!this.tracing) return;
    if (total > 0) {
      this.stage?.setAttributes({ 'attune.round.done': done, 'attune.round.total': total });
      return;
    }
    if (stage === this.stageName) return;
    this.stageName = stage;
    this.stage?.end();
    this.stage = this.tracing.tracer.startSpan(
      `round ${stage}`,
      { attributes: { 'attune.round.stage': stage } },
      this.context,
    );
  }

  /** With the outcome from the round's row; a round that another trainer will resume has none yet. */
  async end(db: Database, id: string): Promise<void> {
    if (!this.tracing) return;
    this.stage?.end();
    const [row] = await db
      .select()
      .from(rounds)
      .where(eq(rounds.id, id))
      .catch(() => []);
    if (row) this.round?.setAttributes(toAttributes(row));
    if (row?.status === 'failed') this.round?.setStatus({ code: this.tracing.api.SpanStatusCode.ERROR });
    this.round?.end();
  }
}

function toAttributes({
  status,
  stage,
  parent_id,
  policy_id,
  pairs,
  metrics,
}: RoundRow): Record<string, string | number> {
  const values = Object.entries(metrics ?? {}).map(([name, value]) => [`attune.round.metrics.${name}`, value]);
  return {
    'attune.round.status': status,
    'attune.round.result': stage,
    ...(parent_id ? { 'attune.round.parent': parent_id } : {}),
    ...(policy_id ? { 'attune.policy.id': policy_id } : {}),
    ...(pairs ? { 'attune.round.pairs': pairs.train, 'attune.round.pairs.held_out': pairs.held_out } : {}),
    ...Object.fromEntries(values),
  };
}
