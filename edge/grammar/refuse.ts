// What a schema has that cannot be kept to, by its path in the request.
import { AttuneError } from '../../shared/error.ts';

export function refuse(path: string, problem: string): AttuneError {
  return new AttuneError(`${path}: ${problem}`, { param: path, code: 'unsupported_schema' });
}
