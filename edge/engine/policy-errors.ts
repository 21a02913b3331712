// Errors of requests for a policy, shared by Node's policy pool and the Worker. No imports from Node.
import { AttuneError } from '../../shared/error.ts';

export function noActivePolicy(): AttuneError {
  return new AttuneError('policy: no policy is active yet; retry once GET /health reports ok', {
    status: 503,
    param: 'model',
    code: 'policy_not_loaded',
  });
}

/** The policy's package is damaged or inconsistent. */
export function policyUnusable(id: string, problem: string): AttuneError {
  return new AttuneError(`policy ${id} cannot serve: ${problem}`, { status: 422, code: 'policy_unusable' });
}

export function serverClosing(): AttuneError {
  return new AttuneError('generation: the server is shutting down; retry on another server, or later', {
    status: 503,
    code: 'closing',
  });
}
