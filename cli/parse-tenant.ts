// The name of a tenant that a command creates something for.

import { InvalidArgumentError } from 'commander';
import { TENANT_PATTERN, TENANT_RULE } from '../shared/access/owner.ts';

export function parseTenant(value: string): string {
  if (!TENANT_PATTERN.test(value)) throw new InvalidArgumentError(TENANT_RULE);
  return value;
}
