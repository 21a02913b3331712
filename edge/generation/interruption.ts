// Why a generation, or a score, did not finish: its client left, or its deadline passed.

import { AttuneError } from '../../shared/error.ts';
import { cancelled, type Deadline } from '../http/deadline.ts';

const ADVICE = {
  generation: 'while generating; request fewer tokens',
  score: 'while scoring; give fewer responses, or shorter ones',
};

export function describeInterruption(
  deadline: Deadline,
  hasStarted: boolean,
  work: keyof typeof ADVICE = 'generation',
): AttuneError {
  if (!deadline.hasPassed()) return cancelled();
  if (!hasStarted)
    return new AttuneError(`${work}: timed out in the queue; retry later`, { status: 503, code: 'queue_timeout' });
  // A retry would take as long.
  return new AttuneError(`${work}: timed out ${ADVICE[work]}, or raise REQUEST_TIMEOUT on the server`, {
    status: 504,
    code: 'deadline_exceeded',
    retry: false,
  });
}
